"""Every shipped recipe, through the real reader, against the table of the paper and its scripts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from videomae_cli.config.document import read_yaml
from videomae_cli.config.dump import differences, dump
from videomae_cli.config.load import CLASSES, load
from videomae_cli.config.nodes import Table, Text
from videomae_cli.config.recipes import Kind, find, recipes
from videomae_cli.config.schema import FinetuneConfig, PretrainConfig, declared, model_fields, values
from videomae_cli.errors import UsageError
from videomae_cli.model.config import PRESETS, VideoMAEConfig

CONFIGS = Path(__file__).parents[2] / "configs"
KINDS: tuple[Kind, ...] = ("pretrain", "finetune")

# name: preset, mask ratio, stride, lr, batch, epochs
PRETRAIN = {
    "k400-small": ("small", 0.9, 4, 1.5e-4, 1024, 1600),
    "k400-base": ("base", 0.9, 4, 1.5e-4, 2048, 800),
    "k400-base-1600": ("base", 0.9, 4, 1.5e-4, 2048, 1600),
    "k400-large": ("large", 0.9, 4, 1.5e-4, 512, 1600),
    "k400-huge": ("huge", 0.9, 4, 1.5e-4, 1024, 1600),
    "ssv2-small": ("small", 0.9, 2, 1.5e-4, 2048, 2400),
    "ssv2-base": ("base", 0.9, 2, 1.5e-4, 2048, 800),
    "ssv2-base-2400": ("base", 0.9, 2, 1.5e-4, 2048, 2400),
    "ucf101-base": ("base", 0.75, 4, 3e-4, 192, 3200),
    "hmdb51-base": ("base", 0.9, 2, 3e-4, 192, 4800),
}
# name: preset, lr, batch, epochs, repeats, views, sampling, stride, flip, layer decay, drop path, min lr, head dropout
FINETUNE = {
    "k400-small": ("small", 5e-4, 384, 150, 2, "5x3", "dense", 4, 0.5, 0.75, 0.1, 1e-6, 0.0),
    "k400-base": ("base", 1e-3, 512, 100, 1, "5x3", "dense", 4, 0.5, 0.75, 0.1, 1e-6, 0.0),
    "k400-base-1600": ("base", 5e-4, 384, 75, 2, "5x3", "dense", 4, 0.5, 0.75, 0.1, 1e-6, 0.0),
    "k400-large": ("large", 2e-3, 128, 35, 2, "5x3", "dense", 4, 0.5, 0.75, 0.1, 1e-6, 0.0),
    "k400-huge": ("huge", 1e-3, 512, 50, 2, "5x3", "dense", 4, 0.5, 0.75, 0.2, 1e-5, 0.5),
    "ssv2-small": ("small", 1e-3, 384, 40, 2, "2x3", "segments", 4, 0.0, 0.7, 0.1, 1e-6, 0.0),
    "ssv2-base": ("base", 5e-4, 512, 50, 1, "2x3", "segments", 4, 0.0, 0.75, 0.1, 1e-6, 0.0),
    "ssv2-base-2400": ("base", 5e-4, 384, 30, 2, "2x3", "segments", 4, 0.0, 0.75, 0.1, 1e-6, 0.0),
    "ucf101-base": ("base", 5e-4, 128, 100, 2, "5x3", "dense", 4, 0.5, 0.7, 0.2, 1e-5, 0.5),
    "hmdb51-base": ("base", 1e-3, 128, 50, 1, "10x3", "dense", 2, 0.5, 0.75, 0.1, 1e-6, 0.0),
}
OWN = ("camera-motion", "small")  # of this project
ALL = [(kind, name) for kind in KINDS for name in recipes(kind)]


def test_every_file_is_a_recipe_and_is_counted() -> None:
    files = sorted(str(path.relative_to(CONFIGS)) for path in CONFIGS.rglob("*") if path.is_file())
    assert files == sorted(["README.md", *(f"{kind}/{name}.yaml" for kind, name in ALL)])
    assert recipes("pretrain") == sorted([*PRETRAIN, *OWN])
    assert recipes("finetune") == sorted([*FINETUNE, *OWN])
    assert len(ALL) == 24


@pytest.mark.parametrize("name", PRETRAIN)
def test_pretraining_follows_the_table(name: str) -> None:
    config = load("pretrain", name)
    found = (config.model.preset, config.mask.ratio, config.data.stride)
    assert (*found, config.optim.lr, config.optim.batch_size, config.optim.epochs) == PRETRAIN[name]


@pytest.mark.parametrize("name", FINETUNE)
def test_fine_tuning_follows_the_table(name: str) -> None:
    config = load("finetune", name)
    data, optim = config.data, config.optim
    assert (
        *(config.model.preset, optim.lr, optim.batch_size, optim.epochs, data.repeats, config.views),
        *(data.sampling, data.stride, config.augment.flip, optim.layer_decay),
        *(config.model.drop_path, optim.min_lr, config.model.head_dropout),
    ) == FINETUNE[name]
    assert config.model.gradient_checkpointing == (name == "k400-huge")


def test_the_defaults_are_what_all_rows_share() -> None:
    pretrain, finetune = PretrainConfig(), FinetuneConfig()
    for config, betas, min_lr, warmup in ((pretrain, (0.9, 0.95), 1e-5, 40), (finetune, (0.9, 0.999), 1e-6, 5)):
        assert (config.optim.betas, config.optim.min_lr, config.optim.warmup_epochs) == (betas, min_lr, warmup)
        assert (config.optim.eps, config.optim.weight_decay, config.optim.clip_grad) == (1e-8, 0.05, None)
        model = config.model
        assert (model.image_size, model.patch_size, model.num_frames, model.tubelet_size) == (224, 16, 16, 2)
    assert (pretrain.mask.kind, pretrain.mask.target, pretrain.mask.decoder_ratio) == ("tube", "normalized", 0)
    assert pretrain.mask.scales == (1, 0.875, 0.75, 0.66)
    assert (pretrain.model.drop_path, pretrain.optim.layer_decay) == (0, 1)
    augment = finetune.augment
    assert (augment.mixup, augment.cutmix, augment.mix_prob, augment.mix_switch) == (0.8, 1, 1, 0.5)
    assert (augment.label_smoothing, augment.erasing, augment.rand_augment) == (0.1, 0.25, "rand-m7-n4-mstd0.5-inc1")
    assert (augment.area, augment.aspect) == ((0.08, 1), (3 / 4, 4 / 3))


@pytest.mark.parametrize("name", [name for name in FINETUNE if name in PRETRAIN])
def test_both_halves_of_a_recipe_have_one_model(name: str) -> None:
    one, other = model_fields(load("pretrain", name).model), model_fields(load("finetune", name).model)
    assert {**one, "drop_path_rate": None} == {**other, "drop_path_rate": None}
    assert load("pretrain", name).model.preset == load("finetune", name).model.preset


def test_the_small_recipes_fit_together_and_into_little() -> None:
    pretrain, finetune = load("pretrain", "small"), load("finetune", "small")
    shared = [key for key in model_fields(finetune.model) if key != "drop_path_rate"]
    assert all(model_fields(pretrain.model)[key] == model_fields(finetune.model)[key] for key in shared)
    for config in (pretrain, finetune):
        model = VideoMAEConfig(**{**PRESETS[config.model.preset], **model_fields(config.model)})  # type: ignore[arg-type]
        assert (model.hidden_size, model.num_hidden_layers, model.grid) == (192, 4, (8, 6, 6))
        assert config.optim.batch_size == 32
        assert config.optim.epochs <= 48


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_recipe_says_its_row_and_otherwise_only_what_differs(kind: Kind, name: str) -> None:
    path = find(kind, name)
    written, faults = read_yaml(path.read_text(), str(path))
    assert not faults
    keys = set()
    for key, node in written.entries:
        assert isinstance(node, Table | Text)
        keys |= {f"{key.content}.{k.content}" for k, _ in node.entries} if isinstance(node, Table) else {key.content}
    row = {"model.preset", "optim.lr", "optim.batch_size", "optim.epochs"}
    changed = {line.split(":")[0] for line in differences(CLASSES[kind](), load(kind, name))}
    assert changed <= keys <= changed | row
    assert row <= keys


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_any_reader_of_yaml_reads_the_same(kind: Kind, name: str) -> None:
    """The files keep clear of YAML's traps, but for 1e-4, which PyYAML alone takes for text."""
    found = values(load(kind, name))
    for section, inner in yaml.safe_load(find(kind, name).read_text()).items():
        for key, value in inner.items() if isinstance(inner, dict) else [("", inner)]:
            wanted: Any = found[f"{section}.{key}".rstrip(".")]
            as_number = isinstance(wanted, float) and isinstance(value, str)
            assert (float(value) if as_number else value) == (list(wanted) if isinstance(wanted, tuple) else wanted)


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_recipe_comes_back_from_its_dump(kind: Kind, name: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(dump(load(kind, name)))
    assert (load(kind, str(file)), dump(load(kind, str(file)))) == (load(kind, name), file.read_text())


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_recipe_says_where_it_is_from(kind: Kind, name: str) -> None:
    comment = [line for line in find(kind, name).read_text().splitlines() if line.startswith("#")]
    text = " ".join(comment)
    if name in OWN:
        assert "No published result" in text
    else:
        assert re.search(r"top-1 \d\d\.\d", text)
        assert ("UNVERIFIED" in text) == (name == "hmdb51-base")
        assert ("Tong et al., 2022" in text) == (name != "hmdb51-base")


def test_the_readme_lists_every_recipe_as_it_is() -> None:
    for kind, heading in (("pretrain", "## Pretraining"), ("finetune", "## Fine-tuning")):
        section = (CONFIGS / "README.md").read_text().split(heading)[1].split("\n## ")[0]
        rows = [
            [cell.strip() for cell in row.split("|")[1:-1]] for row in section.splitlines() if row.startswith("| `")
        ]
        table = {row[0].split("`")[1]: row for row in rows}
        assert sorted(table) == recipes(kind)  # type: ignore[arg-type]
        for name, row in table.items():
            if kind == "pretrain":
                pretrain = load("pretrain", name)
                numbers = (pretrain.mask.ratio, pretrain.data.stride, pretrain.optim.lr, pretrain.optim.batch_size)
                assert [float(cell) for cell in row[3:8]] == [*numbers, pretrain.optim.epochs]
            else:
                optim, data = load("finetune", name).optim, load("finetune", name).data
                assert [float(cell) for cell in row[3:7]] == [optim.lr, optim.batch_size, optim.epochs, data.repeats]
                assert row[8] == load("finetune", name).views


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        ("finetune", "k400-bsae", 'Did you mean "k400-base"? There are: camera-motion, hmdb51-base,'),
        ("pretrain", "ssv2", "There are: camera-motion, hmdb51-base,"),
        ("finetune", "", "There are: camera-motion"),
    ],
)
def test_an_unknown_recipe_names_the_others(kind: Kind, name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"no recipe {name!r}") as error:
        load(kind, name)  # type: ignore[call-overload]
    assert hint in error.value.hint


def test_a_recipe_of_the_other_command_is_told() -> None:
    with pytest.raises(UsageError, match='"mask" is a key of pretrain, not of finetune'):
        load("finetune", str(find("pretrain", "ucf101-base")))
    assert "mask.ratio" in declared(PretrainConfig)
