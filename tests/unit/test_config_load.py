"""Configurations: YAML without its traps, all faults at once with their places, and back to YAML."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videomae_cli.config.convert import MismatchError, convert, describe
from videomae_cli.config.dump import differences, dump
from videomae_cli.config.faults import LIMITS, PATTERNS, contradictions, out_of_range
from videomae_cli.config.load import CLASSES, load
from videomae_cli.config.nodes import Place, Text
from videomae_cli.config.recipes import MAX_BYTES, Kind
from videomae_cli.config.schema import (
    AugmentSection,
    FinetuneConfig,
    ModelSection,
    PretrainConfig,
    declared,
    model_fields,
    values,
    with_values,
)
from videomae_cli.errors import UsageError
from videomae_cli.model.config import PRESETS, VideoMAEConfig


def faults(kind: Kind, text: str | bytes, tmp_path: Path, *overrides: str, **arguments: object) -> list[str]:
    """What is wrong with a file's text: the lines of the error, without the folder's name."""
    file = tmp_path / "my.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError) as error:
        load(kind, str(file), overrides, arguments)  # type: ignore[call-overload]
    return error.value.message.replace(f"{tmp_path}/", "").splitlines()


def loaded(text: str, tmp_path: Path) -> FinetuneConfig:
    file = tmp_path / "my.yaml"
    file.write_text(text)
    return load("finetune", str(file))


def test_what_stands_later_wins(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("optim: {lr: 2e-3, epochs: 30}\ndata:\n  train: here\nmodel:\n")
    overrides = ["optim.epochs=40", "optim.betas=[.9, 0.95]", "optim.epochs = 50"]
    config = load("finetune", str(file), overrides, {"data.train": "there", "init": None})
    assert differences(FinetuneConfig(), config) == [
        'data.train: null -> "there"',
        "optim.lr: 0.001 -> 0.002",
        "optim.epochs: 100 -> 50",
        "optim.betas: [0.9, 0.999] -> [0.9, 0.95]",
    ]
    assert load("pretrain") == PretrainConfig()


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\ufeff# a mark\n", "{}", "optim:\ndata: {}\n"])
def test_a_file_may_say_nothing(text: str, tmp_path: Path) -> None:
    assert loaded(text, tmp_path) == FinetuneConfig()


@pytest.mark.parametrize(
    ("written", "name", "value"),
    [
        ("optim: {lr: 1e-4}", "optim.lr", 1e-4),  # text to PyYAML
        ("optim: {lr: 1E-4}", "optim.lr", 1e-4),
        ("optim: {lr: .5}", "optim.lr", 0.5),
        ("optim: {lr: 1}", "optim.lr", 1.0),
        ("optim: {warmup_epochs: +5.}", "optim.warmup_epochs", 5.0),
        ("run: {seed: 0}", "run.seed", 0),
        ("optim: {compile: True}", "optim.compile", True),
        ("optim: {clip_grad: null}", "optim.clip_grad", None),
        ("optim: {clip_grad: ~}", "optim.clip_grad", None),
        ("optim: {clip_grad: }", "optim.clip_grad", None),
        ("optim: {clip_grad: 1}", "optim.clip_grad", 1.0),
        ("data: {num_workers: auto}", "data.num_workers", "auto"),
        ("data: {num_workers: 4}", "data.num_workers", 4),
        ("data: {train: 010}", "data.train", "010"),  # as it is written
        ("data: {train: 2024-01-01}", "data.train", "2024-01-01"),
        ("data: {train: 'on'}", "data.train", "on"),
        ('data: {train: "a\\tb \\u00e9"}', "data.train", "a\tb é"),
        ("data:\n  train: >\n    two\n    words", "data.train", "two words"),
        ("augment: {area: [0.2, 1]}", "augment.area", (0.2, 1.0)),
        ("augment:\n  area:\n  - 0.2\n  - 1", "augment.area", (0.2, 1.0)),
    ],
)
def test_values_are_read_by_their_declared_type(written: str, name: str, value: object, tmp_path: Path) -> None:
    found = values(loaded(written, tmp_path))[name]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "written", "shown", "wanted"),
    [
        ("optim.epochs", "010", '"010"', "an integer; write 10"),
        ("optim.epochs", "1_000", '"1_000"', "an integer; write 1000"),
        ("optim.epochs", "1e2", '"1e2"', "an integer; write 100"),
        ("optim.epochs", "0x10", '"0x10"', "an integer"),
        ("optim.epochs", "1:30", '"1:30"', "an integer"),
        ("optim.epochs", "2.5", '"2.5"', "an integer"),
        ("optim.epochs", "'9'", '"9"', "an integer; write 9"),
        ("optim.epochs", "٣", '"٣"', "an integer; write 3"),
        ("optim.epochs", "9" * 5000, f'"{"9" * 60}"', "an integer"),
        ("optim.epochs", "true", '"true"', "an integer"),
        ("optim.epochs", "[3]", "a list", "an integer"),
        ("optim.epochs", "{a: 3}", "a section", "an integer"),
        ("optim.epochs", "null", '"null"', "an integer"),
        ("optim.lr", "010", '"010"', "a finite number; write 10.0"),
        ("optim.lr", ".nan", '".nan"', "a finite number"),
        ("optim.lr", "nan", '"nan"', "a finite number"),
        ("optim.lr", "-.inf", '"-.inf"', "a finite number"),
        ("optim.lr", "1e999", '"1e999"', "a finite number"),
        ("optim.lr", '"1e-4"', '"1e-4"', "a finite number; write 0.0001"),
        ("optim.clip_grad", "none", '"none"', "null or a finite number; write null for none"),
        ("optim.compile", "on", '"on"', "true or false; write true"),
        ("optim.compile", "No", '"No"', "true or false; write false"),
        ("optim.compile", "1", '"1"', "true or false"),
        ("optim.compile", '"true"', '"true"', "true or false; write true"),
        ("optim.betas", "[0.9]", "a list", "a list of 2 numbers, [a, b]"),
        ("optim.betas", "[0.9, a]", "a list", "a list of 2 numbers, [a, b]"),
        ("optim.betas", "0.9", '"0.9"', "a list of 2 numbers, [a, b]"),
        ("run.device", "off", '"off"', 'text; put quotes around it if it is meant: "off"'),
        ("data.train", "None", '"None"', "null or text; write null for none"),
        ("data.train", "yes", '"yes"', 'null or text; put quotes around it if it is meant: "yes"'),
        ("model.preset", "bsae", '"bsae"', 'small, base, large or huge; did you mean "base"?'),
        ("data.num_workers", "atuo", '"atuo"', 'an integer or auto; did you mean "auto"?'),
    ],
)
def test_traps_and_wrong_types(name: str, written: str, shown: str, wanted: str, tmp_path: Path) -> None:
    section, key = name.split(".")
    place = f"my.yaml:2:{len(key) + 5}"
    found = faults("finetune", f"{section}:\n  {key}: {written}\n", tmp_path)
    assert found == [f"{place}: {name} is {shown}; it must be {wanted}"]


def test_a_list_of_any_length_has_one_number_at_least(tmp_path: Path) -> None:
    assert faults("pretrain", "mask: {scales: []}", tmp_path) == [
        "my.yaml:1:16: mask.scales is a list; it must be a list of numbers, [a, b, ...]"
    ]
    assert load("pretrain", None, ["mask.scales=[1, .5, 0.25]"]).mask.scales == (1, 0.5, 0.25)


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("augment:\n  mixpu: 1", '2:3: there is no key "augment.mixpu" (did you mean "augment.mixup"?)'),
        ("lr: 1", '1:1: there is no key "lr" (did you mean "optim.lr"?)'),
        ("augmnet: {flip: 0}", '1:1: there is no key "augmnet" (did you mean "augment"?)'),
        ("zzz: 1", '1:1: there is no key "zzz"'),
        ("1: 1", '1:1: there is no key "1"'),
        ("'': 1", '1:1: there is no key ""'),
        ("<<: {lr: 1}", '1:1: there is no key "<<"'),
        ("optim.lr: 1", '1:1: "optim.lr" is how --set says it; here, write lr in the section optim'),
        ("mask: {ratio: 0.9}", '1:1: "mask" is a key of pretrain, not of finetune'),
        ("optim:\n  lr: 1\n  lr: 2", '3:3: "lr" is given twice; first in line 2'),
        ("views: 5x3\noptim: {}\nviews: 1x1", '3:1: "views" is given twice; first in line 1'),
        ("? [a, b]\n: 1", "1:3: a key must be a word"),
        ("- a", "1:1: the file must be keys with values, such as `optim:`, not one value"),
        ("text", "1:1: the file must be keys with values, such as `optim:`, not one value"),
        ("views: 5x3\n---\nviews: 1x1", "2:1: a second document begins here; a file may hold one"),
        ("init: &a here\ndata: {train: *a}", "2:15: aliases such as *a are not read; write the value itself"),
        ("init: !mine x", "1:7: tags such as !mine are not read; write the value alone"),
        ("init: !!str 3", "1:7: tags such as !!str are not read; write the value alone"),
        (
            "init: !!python/object/apply:os.system [ls]",
            "1:7: tags such as !!python/object/apply:os.system are not read; write the value alone",
        ),
        (
            "views: 5x3\ninit: [",
            "2:8: expected the node content, but found '<stream end>'; while parsing a flow node",
        ),
        (
            "optim:\n\tlr: 1",
            "2:1: found character '\\t' that cannot start any token; while scanning for the next token",
        ),
        ("init: é\0", "1:8: the character U+0000 may not be in YAML"),
        ("[" * 30_000, "1:9: nested deeper than 8 levels"),
        ("{a: " * 8_000, "1:30: nested deeper than 8 levels"),
        (b"views: 5x3\ninit: \xff", "2: the file is not UTF-8"),
    ],
)
def test_files_that_are_wrong(written: str | bytes, fault: str, tmp_path: Path) -> None:
    (found,) = faults("finetune", written, tmp_path)
    assert found.partition("; the keys")[0] == f"my.yaml:{fault}"


def test_an_unknown_key_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    keys = ", ".join(name.removeprefix("augment.") for name in declared(FinetuneConfig) if name.startswith("augment."))
    assert keys.startswith("area, aspect, flip, ")
    for text, ending in (
        ("augment: {x: 1}", f"; the keys of augment are {keys}"),
        ("augment: 3", f'augment is "3"; it must be a section, of the keys {keys}'),
        ("augment: [3]", f"augment is a list; it must be a section, of the keys {keys}"),
        (
            "x: 1",
            "; the keys and sections are init, frozen_blocks, linear_probe, views, model, data, augment, optim, run",
        ),
    ):
        (found,) = faults("finetune", text, tmp_path)
        assert found.endswith(ending)


def test_billions_of_laughs_are_not_even_unfolded(tmp_path: Path) -> None:
    laughs = "a: &a [x, x]\n" + "".join(
        f"{c}: &{c} [{','.join([f'*{p}'] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert sum("aliases such as" in line for line in faults("finetune", laughs, tmp_path)) == 44


def test_what_is_no_configuration_at_all_is_told_briefly(tmp_path: Path) -> None:
    found = faults("finetune", "".join(f"key{k}: 1\n" for k in range(90)), tmp_path)
    assert (len(found), found[-1]) == (51, "and 40 more")


def test_a_fault_is_one_line_whatever_was_written(tmp_path: Path) -> None:
    text = 'optim:\n  lr: !%1e3 1\n  eps: "a\\u2028b\\x85"\n"o\\nptim": 1\n'
    found = faults("finetune", text, tmp_path)
    assert len(found) == 3
    assert all(line.isprintable() for line in found)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_whatever_happens_to_a_file_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    text = "views: 5x3\noptim:\n  lr: 1e-3\n  betas: [0.9, 0.95]\ndata: {train: 'a b'}\n"
    start = data.draw(st.integers(0, len(text)))
    noise = data.draw(st.text(st.sampled_from("[]{}:,-?&*!|>'\"%@`#\n \t~<=.\\\r\x85\u2028a1"), max_size=8))
    file = tmp_path_factory.mktemp("noise") / "my.yaml"
    file.write_text(text[:start] + noise + text[start + data.draw(st.integers(0, 4)) :], encoding="utf-8", newline="")
    try:
        config = load("finetune", str(file))
    except UsageError as error:
        assert all(line.startswith(f"{file}:") for line in error.message.splitlines())
    else:
        assert not [*out_of_range(config), *contradictions(config)]


def test_files_that_are_none(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    large.write_text("#" * (MAX_BYTES + 1))
    for path, message in (
        (large, f"has more than {MAX_BYTES} bytes"),
        (tmp_path / "missing.yaml", "cannot be read: No such file or directory"),
        (tmp_path, "is not a file"),
        (Path("/dev/zero"), "is not a file"),
        (tmp_path / "\0.yaml", "cannot be read: embedded null byte"),
    ):
        with pytest.raises(UsageError, match=message):
            load("finetune", str(path))


def test_all_faults_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """\
optim:
  betas: [0.9, 1.5]
  lr: fast
  batch_size: 100
model:
  image_size: 225
  patch_size: 16
run: {seed: -1, sed: 3}
views: 5by3
"""
    found = faults("finetune", text, tmp_path, "optm.lr=3", "optim=1", "lr", "optim.ema=1", "run.log_steps=")
    assert [line.partition("; the keys")[0].partition("; set one")[0] for line in found] == [
        "my.yaml:2:10: optim.betas is [0.9, 1.5]; it must be in [0, 1)",
        'my.yaml:3:7: optim.lr is "fast"; it must be a finite number',
        "my.yaml:4:15: optim.batch_size is 100; it must be a multiple of optim.micro_batch, 8",
        "my.yaml:7:15: model.image_size is 225; it must be a multiple of model.patch_size, 16",
        "my.yaml:8:13: run.seed is -1; it must be in [0, 4294967295]",
        'my.yaml:8:17: there is no key "run.sed" (did you mean "run.seed"?)',
        'my.yaml:9:8: views is "5by3"; it must be temporal x spatial views, such as "5x3" (at most 99x99)',
        '--set optm.lr=3: there is no key "optm.lr" (did you mean "optim.lr"?)',
        "--set optim=1: optim is a section",
        "--set lr: there is no value; write section.key=value, such as optim.lr=1e-3",
        "--set run.log_steps=: there is no value; write section.key=value, such as optim.lr=1e-3",
        "--set optim.ema=1: optim.ema is 1.0; it must be in (0, 1)",
    ]


@pytest.mark.parametrize(
    ("override", "name", "value"),
    [
        ("data.train=/a b: [c] #1 *d", "data.train", "/a b: [c] #1 *d"),  # as it stands
        ("data.train=x=y", "data.train", "x=y"),
        ("data.train='null'", "data.train", "null"),
        ("data.train=null", "data.train", None),
        ("augment.rand_augment=null", "augment.rand_augment", None),
        ("augment.area=[0.5,1]", "augment.area", (0.5, 1.0)),
        ("optim.lr=1e-4", "optim.lr", 1e-4),
    ],
)
def test_overrides(override: str, name: str, value: object) -> None:
    assert values(load("finetune", None, [override]))[name] == value


@pytest.mark.parametrize(
    ("kind", "changes", "name", "wanted"),
    [
        ("finetune", {"optim.lr": 0.0}, "optim.lr", "more than 0"),
        ("finetune", {"optim.epochs": 0}, "optim.epochs", "in [1, 1048576]"),
        ("finetune", {"augment.flip": 1.1}, "augment.flip", "in [0, 1]"),
        ("finetune", {"augment.mixup": -0.1}, "augment.mixup", "at least 0"),
        ("finetune", {"model.drop_path": 1.0}, "model.drop_path", "in [0, 1)"),
        ("finetune", {"augment.area": (0.0, 1.0)}, "augment.area", "in (0, 1]"),
        ("finetune", {"optim.ema": 1.0}, "optim.ema", "in (0, 1)"),
        ("finetune", {"run.keep_checkpoints": 1}, "run.keep_checkpoints", "at least 2"),
        ("finetune", {"data.num_workers": -1}, "data.num_workers", "at least 0"),
        ("finetune", {"data.train": ""}, "data.train", "a path"),
        ("finetune", {"views": "5x0"}, "views", PATTERNS["views"][1]),
        ("finetune", {"run.device": "gpu"}, "run.device", "auto, cpu, mps, cuda or cuda:N"),
        ("finetune", {"augment.rand_augment": "rand-m11"}, "augment.rand_augment", PATTERNS["augment.rand_augment"][1]),
        ("finetune", {"augment.rand_augment": "m7-n4"}, "augment.rand_augment", PATTERNS["augment.rand_augment"][1]),
        ("pretrain", {"mask.ratio": 1.0}, "mask.ratio", "in (0, 1)"),
        ("pretrain", {"mask.scales": (1.0, 1.1)}, "mask.scales", "in (0, 1]"),
    ],
)
def test_ranges(kind: Kind, changes: dict[str, object], name: str, wanted: str) -> None:
    assert list(out_of_range(with_values(CLASSES[kind](), changes))) == [(name, wanted)]


@pytest.mark.parametrize(
    ("kind", "changes", "fault"),
    [
        (
            "finetune",
            {"model.image_size": 100},
            "model.image_size is 100; it must be a multiple of model.patch_size, 16",
        ),
        (
            "finetune",
            {"model.num_frames": 15},
            "model.num_frames is 15; it must be a multiple of model.tubelet_size, 2",
        ),
        (
            "finetune",
            {"model.hidden_size": 192, "model.num_attention_heads": 5},
            "model.hidden_size is 192; it must be a multiple of model.num_attention_heads, 5",
        ),
        ("finetune", {"optim.batch_size": 12}, "optim.batch_size is 12; it must be a multiple of optim.micro_batch, 8"),
        ("finetune", {"optim.epochs": 5}, "optim.warmup_epochs is 5.0; it must be less than optim.epochs, 5"),
        ("finetune", {"optim.lr": 1e-7}, "optim.min_lr is 1e-06; it must be at most optim.lr, 1e-07"),
        ("finetune", {"augment.area": (1.0, 0.5)}, "augment.area is [1.0, 0.5]; the lowest comes first"),
        (
            "finetune",
            {"linear_probe": True, "frozen_blocks": 3},
            "frozen_blocks is 3 and linear_probe true; the probe freezes all blocks",
        ),
        ("finetune", {"model.num_hidden_layers": 4, "frozen_blocks": 5}, "frozen_blocks is 5; the model has 4 blocks"),
        ("pretrain", {"mask.ratio": 0.004}, "mask.ratio is 0.004, which hides 0 of 196 patches"),
        ("pretrain", {"model.image_size": 16}, "mask.ratio is 0.9, which hides 0 of 1 patches"),
        ("pretrain", {"mask.decoder_ratio": 0.4}, "mask.decoder_ratio is 0.4; it must be 0, 0.25, 0.5 or 0.75"),
        (
            "pretrain",
            {"mask.decoder_ratio": 0.5, "model.image_size": 112},
            "mask.decoder_ratio is 0.5; its cells of 2 x 2 need an even grid, not 7 x 7 patches",
        ),
    ],
)
def test_contradictions(kind: Kind, changes: dict[str, object], fault: str) -> None:
    config = with_values(CLASSES[kind](), changes)
    assert not list(out_of_range(config))
    ((names, text),) = contradictions(config)
    assert text == fault
    assert set(names) & set(changes)  # one of them has a place


@pytest.mark.parametrize(
    "changes",
    [
        {"optim.batch_size": 4},  # one short pass
        {"optim.min_lr": 1e-3},  # a constant rate
        {"model.hidden_size": 192},  # the preset's heads; the model room knows them
        {"linear_probe": True},
        {"augment.rand_augment": None},
        {"augment.rand_augment": "rand-n2-m10-inc0"},
        {"data.num_workers": "auto"},
        {"run.device": "cuda:3"},
    ],
)
def test_what_is_no_fault(changes: dict[str, object]) -> None:
    config = with_values(FinetuneConfig(), changes)
    assert (list(out_of_range(config)), list(contradictions(config))) == ([], [])


@pytest.mark.parametrize("kind", CLASSES)
def test_no_number_and_no_free_text_is_without_limits(kind: Kind) -> None:
    limited = {name for names in LIMITS.values() for name in names}
    for name, annotation in declared(CLASSES[kind]).items():
        parts = {annotation, *get_args(annotation)}
        assert (name in limited) == bool(parts & {int, float}), name
        assert (name in PATTERNS) == (str in parts and get_origin(annotation) is not Literal), name
    both = {**declared(PretrainConfig), **declared(FinetuneConfig)}
    assert limited | set(PATTERNS) <= set(both)


def strategy(name: str, annotation: Any) -> st.SearchStrategy[Any]:
    """Any value of a field's type that lies within its limits."""
    bounds = next((limits for limits, names in LIMITS.items() if name in names), None)
    numbers = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
    if get_origin(annotation) is Literal:
        return st.sampled_from(get_args(annotation))
    if get_origin(annotation) is tuple:
        size = None if Ellipsis in get_args(annotation) else 2
        return st.lists(strategy(name, float), min_size=size or 1, max_size=size or 5).map(tuple)
    if get_args(annotation):
        return st.one_of(*(strategy(name, member) for member in get_args(annotation)))
    if annotation in (int, float):
        assert bounds
        low, high = bounds.low, min(bounds.high, 2**40)
        if annotation is int:
            return st.integers(int(low), int(high))
        return st.floats(low, high).filter(lambda number: number in bounds)
    texts = {"views": "3x2", "run.device": "cuda:1", "augment.rand_augment": "rand-m3"}
    if annotation is str:
        return st.just(texts[name]) if name in texts else st.one_of(st.text(min_size=1), st.sampled_from(WORDS))
    return {bool: st.booleans(), type(None): st.none()}.get(annotation, numbers)


WORDS = ["on", "No", "None", "null", "~", "010", "1e-4", "1e3", ".inf", "2024-01-01", "a: b", "*a", "# a", " a ", "[a]"]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_dump_and_load_are_inverse(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    kind: Kind = data.draw(st.sampled_from(list(CLASSES)))
    config = CLASSES[kind]()
    for name in data.draw(st.lists(st.sampled_from(list(declared(CLASSES[kind]))), max_size=12, unique=True)):
        value = data.draw(strategy(name, declared(CLASSES[kind])[name]))
        changed = with_values(config, {name: value})
        if not list(out_of_range(changed)) and not list(contradictions(changed)):
            config = changed
    file = tmp_path_factory.mktemp("dump") / "config.yaml"
    file.write_text(dump(config), encoding="utf-8", newline="")
    back = load(kind, str(file))  # type: ignore[call-overload]
    assert (back, dump(back)) == (config, dump(config))


def test_a_dump_is_readable() -> None:
    text = dump(load("finetune", None, ["optim.lr=1e-5", "data.train='on'"]))
    assert "\n  lr: 1.0e-05\n  min_lr: 1.0e-06\n" in text
    assert "\n  betas: [0.9, 0.999]\n" in text
    assert '\n  train: "on"\n  validation: null\n' in text
    assert text.startswith("init: null\nfrozen_blocks: 0\nlinear_probe: false\nviews: 5x3\nmodel:\n  preset: base\n")


def test_differences() -> None:
    old = FinetuneConfig()
    new = replace(old, views="1x1", augment=AugmentSection(rand_augment=None, area=(0.5, 1.0)))
    assert differences(old, old) == []
    assert differences(old, new) == [
        'views: "5x3" -> "1x1"',
        "augment.area: [0.08, 1.0] -> [0.5, 1.0]",
        'augment.rand_augment: "rand-m7-n4-mstd0.5-inc1" -> null',
    ]


def test_a_section_becomes_a_model() -> None:
    section = ModelSection("small", image_size=96, hidden_size=192, decoder_num_hidden_layers=2, drop_path=0.2)
    model = VideoMAEConfig(**{**PRESETS[section.preset], **model_fields(section)})  # type: ignore[arg-type]
    found = (model.image_size, model.hidden_size, model.num_hidden_layers, model.decoder_num_hidden_layers)
    assert (*found, model.drop_path_rate, model.num_frames) == (96, 192, 12, 2, 0.2, 16)


def test_types_in_words() -> None:
    assert describe(int | Literal["auto"]) == "an integer or auto"
    assert describe(float | None) == "null or a finite number"
    assert convert(Text("null", False, Place("x")), str | None) is None
    with pytest.raises(MismatchError, match="true or false"):
        convert(Text("true", True, Place("x")), bool)


def test_the_room_is_light() -> None:
    code = "from videomae_cli.config import load, dump; load.load('finetune'); import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "av", "typer", "rich", "yaml"} & set(done.stdout.split())
