"""What the three models promise beyond the numbers, which tests/parity compares with transformers."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from tests.models import SMALL, masks, pixels, relative_error, small_model
from videomae_cli.errors import UsageError
from videomae_cli.model import videomae
from videomae_cli.model.attention import attention
from videomae_cli.model.config import VideoMAEConfig
from videomae_cli.model.layers import Block
from videomae_cli.model.masking import running_cell_mask, select, split_tokens
from videomae_cli.model.positions import sinusoid_table
from videomae_cli.model.targets import patchify, reconstruction_targets, unpatchify

CLASSES = ("VideoMAEModel", "VideoMAEForPreTraining", "VideoMAEForVideoClassification")
CLASSIFIER = "VideoMAEForVideoClassification"
PRETRAINING = "VideoMAEForPreTraining"


def inputs_for(model: Any, batch_size: int = 2) -> dict[str, torch.Tensor]:
    inputs = {"pixel_values": pixels(model.config, batch_size)}
    if isinstance(model, videomae.VideoMAEForPreTraining):
        inputs["bool_masked_pos"] = masks(model.config, batch_size)
    return inputs


def masked_targets(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    patches = patchify(inputs["pixel_values"], model.config.patch_shape)
    _, masked = split_tokens(inputs["bool_masked_pos"], len(patches), patches.shape[1], patches.device)
    return reconstruction_targets(select(patches, masked), normalize=model.config.norm_pix_loss)


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("variant", "classifier_millions", "pretraining_millions"),
    [("small", 22.03, 24.03), ("base", 86.53, 94.21), ("large", 304.27, 343.0), ("huge", 632.12, 692.5)],
)
def test_numbers_of_parameters_are_the_published_ones(
    variant: str, classifier_millions: float, pretraining_millions: float
) -> None:
    config = VideoMAEConfig.preset(variant)
    config.num_labels = 400
    with torch.device("meta"):
        classifier = videomae.VideoMAEForVideoClassification(config)
        config.use_mean_pooling = False
        pretraining = videomae.VideoMAEForPreTraining(config)
    assert classifier.num_parameters() / 1e6 == pytest.approx(classifier_millions, abs=0.006)
    assert pretraining.num_parameters() / 1e6 == pytest.approx(pretraining_millions, abs=0.06)
    if variant == "base":
        assert classifier.num_parameters() == 86_534_800


@pytest.mark.parametrize("num_frames", [8, 16, 32])
@pytest.mark.parametrize("side_px", [160, 224, 320])
def test_other_frame_counts_and_resolutions(num_frames: int, side_px: int) -> None:
    """A model built for 16 frames of 224 px gives what one built for the clip's own size gives."""
    sizes = {"hidden_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1, "intermediate_size": 8}
    model = small_model(CLASSIFIER, **{**sizes, "image_size": 224, "num_frames": 16})
    own = small_model(CLASSIFIER, **{**sizes, "image_size": side_px, "num_frames": num_frames})
    own.load_state_dict(model.state_dict())
    num_tokens = num_frames // 2 * (side_px // 16) ** 2
    assert own.config.num_tokens == num_tokens
    clip = pixels(own.config, batch_size=1)
    with torch.no_grad():
        assert torch.equal(model(clip).logits, own(clip).logits)
        assert torch.equal(model.videomae.embeddings.positions(num_tokens), sinusoid_table(num_tokens, 8))


def test_other_sizes_in_pretraining() -> None:
    model = small_model(PRETRAINING)
    larger = small_model(PRETRAINING, image_size=(32, 64), num_frames=8)
    larger.load_state_dict(model.state_dict())
    inputs = inputs_for(larger)
    assert torch.equal(model(**inputs).loss, larger(**inputs).loss)


# ---------------------------------------------------------------- outputs


def test_outputs_have_names_order_and_keys() -> None:
    model = small_model(CLASSIFIER)
    output = model(pixels(model.config), labels=torch.tensor([0, 1]), output_attentions=True)
    assert list(output) == ["loss", "logits", "attentions"]
    assert output.hidden_states is None
    assert output[0] is output["loss"] is output.loss
    assert output[:2] == (output.loss, output.logits)
    assert output.to_tuple() == (output.loss, output.logits, output.attentions)
    assert dict(output)["logits"] is output.logits
    assert "hidden_states" not in output
    with pytest.raises(KeyError):
        output["hidden_states"]
    with pytest.raises(IndexError):
        output[3]
    assert torch.equal(pickle.loads(pickle.dumps(output)).logits, output.logits)


def test_plain_tuples() -> None:
    for name in CLASSES:
        model = small_model(name)
        inputs = inputs_for(model)
        named = model(**inputs, output_hidden_states=True)
        values = model(**inputs, output_hidden_states=True, return_dict=False)
        assert isinstance(values, tuple)
        assert len(values) == len(named)
        assert torch.equal(values[0], named[0])


def test_the_configuration_sets_what_a_call_leaves_open() -> None:
    model = small_model("VideoMAEModel", output_attentions=True, output_hidden_states=True, return_dict=False)
    last, hidden_states, attentions = model(pixels(model.config))
    assert len(hidden_states) == len(attentions) + 1 == 3
    output = model(pixels(model.config), output_attentions=False, output_hidden_states=False, return_dict=True)
    assert list(output) == ["last_hidden_state"]
    assert relative_error(output.last_hidden_state, last) < 1e-5


def test_shapes() -> None:
    model = small_model(PRETRAINING)
    output = model(**inputs_for(model), output_hidden_states=True, output_attentions=True)
    assert output.loss.shape == ()
    assert output.logits.shape == (2, 4, 1536)  # int(0.6 * 8) masked tokens
    assert [tuple(state.shape) for state in output.hidden_states] == [(2, 4, 24)] * 3
    assert [tuple(attention.shape) for attention in output.attentions] == [(2, 3, 4, 4)] * 2
    for probabilities in output.attentions:
        torch.testing.assert_close(probabilities.sum(dim=-1), torch.ones(2, 3, 4))


def test_no_head() -> None:
    model = small_model(CLASSIFIER, num_labels=0)
    assert model(pixels(model.config)).logits.shape == (2, 24)


# ---------------------------------------------------------------- attention


def test_probabilities_under_sdpa_are_those_of_eager() -> None:
    model = small_model("VideoMAEModel")
    clip = pixels(model.config)
    fused = model(clip, output_attentions=True)
    model.set_attn_implementation("eager")
    eager = model(clip, output_attentions=True)
    assert all(torch.equal(a, b) for a, b in zip(fused.attentions, eager.attentions, strict=True))
    assert model(clip).attentions is None


def test_a_silent_head_adds_nothing() -> None:
    model = small_model("VideoMAEModel")
    clip, mask = pixels(model.config), torch.tensor([1.0, 0.0, 1.0])
    output = model(clip, head_mask=mask, output_attentions=True)
    assert all(not probabilities[:, 1].any() for probabilities in output.attentions)
    per_layer = model(clip, head_mask=mask.expand(2, 3))
    assert torch.equal(per_layer.last_hidden_state, output.last_hidden_state)
    torch.testing.assert_close(model(clip, head_mask=torch.ones(3)).last_hidden_state, model(clip).last_hidden_state)


def test_attention_dropout_is_drawn_and_scaled() -> None:
    qkv = torch.zeros(1, 200, 3, 1, 4)
    qkv[:, :, 2] = 1
    torch.manual_seed(0)
    for implementation in ("eager", "sdpa"):
        context, _ = attention(qkv, implementation, dropout=0.5)
        assert context.std() > 0.01
        assert context.mean() == pytest.approx(1.0, abs=0.02)
    _, probabilities = attention(qkv, dropout=0.5, need_probabilities=True)
    assert probabilities is not None
    assert probabilities.unique().tolist() == pytest.approx([0, 2 / 200])


@pytest.mark.parametrize("mask", [torch.ones(4), torch.ones(3, 3), torch.ones(2, 2, 3)])
def test_head_masks_that_do_not_fit(mask: torch.Tensor) -> None:
    model = small_model("VideoMAEModel")
    with pytest.raises(UsageError, match=r"head_mask has the shape .*, not \(3,\) or \(2, 3\)"):
        model(pixels(model.config), head_mask=mask)


def test_no_such_backend() -> None:
    with pytest.raises(UsageError, match="no attention implementation 'flash'"):
        videomae.VideoMAEModel(VideoMAEConfig(**SMALL), attn_implementation="flash")
    with pytest.raises(UsageError, match="no attention implementation 'flash'"):
        small_model("VideoMAEModel").set_attn_implementation("flash")


def test_which_backend_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts the calls of torch's fused attention, which still does the work."""
    num_calls, fused = [], F.scaled_dot_product_attention

    def counted(*args: Any, **kwargs: Any) -> torch.Tensor:
        num_calls.append(1)
        return fused(*args, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", counted)
    model = small_model(PRETRAINING)
    model(**inputs_for(model))
    assert len(num_calls) == 3  # two blocks of the encoder, one of the decoder
    model.set_attn_implementation("eager")
    model(**inputs_for(model))
    assert len(num_calls) == 3


# ---------------------------------------------------------------- masks


def test_only_visible_patches_are_embedded() -> None:
    model, shapes = small_model(PRETRAINING), []
    model.videomae.embeddings.projection.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
    model(**inputs_for(model))
    assert shapes == [(2, 4, 1536)]  # 4 of 8 tokens


def test_masked_pixels_are_never_looked_at_by_the_encoder() -> None:
    model = small_model("VideoMAEModel")
    clip, mask = pixels(model.config), masks(model.config)
    patches = patchify(clip, model.config.patch_shape)
    patches[mask] = torch.nan
    spoiled = unpatchify(patches, model.config.patch_shape, model.config.grid)
    assert torch.equal(model(spoiled, mask).last_hidden_state, model(clip, mask).last_hidden_state)


def test_a_decoder_mask_limits_what_is_decoded_and_what_is_counted() -> None:
    """VideoMAE V2: decode the tokens left by the decoder's mask, average over those that the encoder did not see."""
    model = small_model(PRETRAINING, image_size=64)
    clip, mask = pixels(model.config), masks(model.config, ratio=0.75)
    generator = torch.Generator().manual_seed(0)
    decoder_mask = torch.stack([running_cell_mask(model.config.grid, generator) for _ in range(2)])
    output = model(clip, mask, bool_decoder_masked_pos=decoder_mask)
    decoded, _ = split_tokens(decoder_mask, 2, 32, clip.device)
    assert output.logits.shape == (2, 16, 1536)

    targets = reconstruction_targets(select(patchify(clip, (2, 16, 16)), decoded), normalize=True)
    errors = (output.logits - targets).square().mean(dim=-1)[mask.gather(1, decoded)]
    assert 0 < len(errors) < 32
    torch.testing.assert_close(output.loss, errors.mean())

    with pytest.raises(UsageError, match="one that the encoder saw"):
        model(clip, mask, bool_decoder_masked_pos=mask)

    same = model(clip, mask, bool_decoder_masked_pos=~mask)  # all that is masked, and nothing else: as without
    torch.testing.assert_close(same.loss, model(clip, mask).loss)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 4, 1, 32, 32), "pixel_values have 1 channels, the model 3"),
        ((2, 3, 4, 32, 32), "pixel_values have 4 channels, the model 3"),
        ((2, 4, 3, 32, 40), "4 frames of 32 x 40 pixels do not divide into patches of 2 frames of 16 x 16"),
        ((2, 3, 3, 32, 32), "3 frames of 32 x 32 pixels do not divide"),
        ((2, 0, 3, 32, 32), "0 frames"),
        ((4, 3, 32, 32), r"of shape \(4, 3, 32, 32\)"),
    ],
)
def test_pixels_that_do_not_fit(shape: tuple[int, ...], message: str) -> None:
    for name in ("VideoMAEModel", CLASSIFIER):
        with pytest.raises(UsageError, match=message):
            small_model(name)(torch.zeros(shape))


def test_pixels_that_were_not_normalised() -> None:
    model = small_model(CLASSIFIER)
    with pytest.raises(UsageError, match=r"pixel_values are torch\.uint8"):
        model(pixels(model.config).byte())


def test_masks_that_leave_nothing_to_do() -> None:
    model = small_model(PRETRAINING)
    clip, mask = pixels(model.config), masks(model.config)
    with pytest.raises(UsageError, match="no token is masked"):
        model(clip, torch.zeros_like(mask))
    with pytest.raises(UsageError, match="all 8 tokens are masked"):
        model(clip, torch.ones_like(mask))
    with pytest.raises(UsageError, match="pretraining needs bool_masked_pos"):
        model(clip, None)
    with pytest.raises(UsageError, match="different numbers of masked tokens"):
        model(clip, torch.stack([mask[0], torch.arange(8) < 7]))


def test_raw_targets_need_rgb() -> None:
    model = small_model(PRETRAINING, num_channels=2, norm_pix_loss=False)
    with pytest.raises(UsageError, match="raw pixels of 2 channels"):
        model(**inputs_for(model))


# ---------------------------------------------------------------- losses

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, -2.0]])


@pytest.mark.parametrize(
    ("problem_type", "num_labels", "labels", "expected"),
    [
        (None, 3, torch.tensor([0, 2]), "cross entropy"),
        ("single_label_classification", 3, torch.tensor([[0], [2]], dtype=torch.int32), "cross entropy"),
        (None, 3, torch.tensor([[1.0, 0, 1], [0, 0, 1]]), "binary"),
        ("multi_label_classification", 3, torch.tensor([[1, 0, 1], [0, 0, 1]]), "binary"),
        ("regression", 3, torch.tensor([[1.0, 0, 1], [0, 0, 1]]), "squares"),
        (None, 1, torch.tensor([1.5, -0.5]), "squares"),
        (None, 1, torch.tensor([[3], [4]]), "squares"),
    ],
)
def test_problem_types(problem_type: Any, num_labels: int, labels: torch.Tensor, expected: str) -> None:
    config = VideoMAEConfig(problem_type=problem_type, num_labels=num_labels)
    logits = LOGITS[:, :num_labels]
    by_hand = {
        "cross entropy": lambda: -logits.log_softmax(-1)[[0, 1], labels.flatten().long()].mean(),
        "binary": lambda: F.softplus(torch.where(labels > 0, -logits, logits)).mean(),
        "squares": lambda: (logits.flatten() - labels.flatten()).square().mean(),
    }
    torch.testing.assert_close(videomae.classification_loss(logits, labels, config), by_hand[expected]())
    assert config.problem_type == problem_type  # inferred anew for each batch, never written down


# ---------------------------------------------------------------- training


@pytest.mark.parametrize(
    "option", ["hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate", "head_dropout_prob"]
)
def test_randomness_is_of_training_alone(option: str) -> None:
    model = small_model(CLASSIFIER, **{option: 0.5})
    plain = small_model(CLASSIFIER)
    clip = pixels(model.config)
    assert torch.equal(model(clip).logits, plain(clip).logits)
    model.train()
    torch.manual_seed(0)
    first = model(clip).logits
    assert not torch.equal(model(clip).logits, first)
    torch.manual_seed(0)
    assert torch.equal(model(clip).logits, first)


def test_drop_path_grows_with_depth_in_the_encoder_alone() -> None:
    model = small_model(PRETRAINING, num_hidden_layers=5, drop_path_rate=0.2)
    assert [block.drop_path for block in model.videomae.blocks] == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
    assert [block.drop_path for block in model.decoder.blocks] == [0]


def test_drop_path_drops_whole_branches_of_whole_clips() -> None:
    model = small_model("VideoMAEModel", drop_path_rate=0.5)
    block = model.blocks[-1].train()
    assert isinstance(block, Block)
    x = torch.randn(400, 2, 24)
    torch.manual_seed(0)
    out, _ = block(x)
    unchanged = (out == x).flatten(1).all(dim=1)  # both branches dropped: a quarter
    assert 0.15 < unchanged.float().mean() < 0.35
    block.drop_path = 0.0
    attended = x + 2 * block.attention(block.norm1(x))[0]  # one branch kept, at twice its strength
    only_attended = torch.isclose(out, attended, atol=1e-5).flatten(1).all(dim=1)
    assert 0.15 < only_attended.float().mean() < 0.35


def test_gradient_checkpointing_changes_nothing_but_memory() -> None:
    options = {"hidden_dropout_prob": 0.3, "drop_path_rate": 0.3}
    plain, frugal = small_model(PRETRAINING, **options).train(), small_model(PRETRAINING, **options).train()
    frugal.gradient_checkpointing_enable()
    num_calls: list[int] = []
    for blocks in (frugal.videomae.blocks, frugal.decoder.blocks):
        blocks[0].register_forward_pre_hook(lambda *_: num_calls.append(1))
    for model in (plain, frugal):
        torch.manual_seed(0)
        model(**inputs_for(model)).loss.backward()
    assert len(num_calls) == 4
    for a, b in zip(plain.parameters(), frugal.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    frugal.gradient_checkpointing_disable()
    frugal(**inputs_for(frugal)).loss.backward()
    assert len(num_calls) == 6


def test_initial_weights() -> None:
    torch.manual_seed(0)
    model = videomae.VideoMAEForPreTraining(VideoMAEConfig(**{**SMALL, "hidden_size": 96, "use_mean_pooling": False}))
    for name, parameter in model.named_parameters():
        if "norm" in name and name.endswith("weight"):
            assert (parameter == 1).all(), name
        elif name.endswith("bias") or name == "mask_token":
            assert not parameter.any(), name
        else:
            assert float(parameter.detach().std()) == pytest.approx(0.2, rel=0.1), name


# ---------------------------------------------------------------- types, devices, wrappers


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", CLASSES)
def test_half_precision(name: str, dtype: torch.dtype) -> None:
    """Float32 pixels, as a processor gives them, go into a model of any type."""
    model = small_model(name)
    inputs = inputs_for(model)
    exact = model(**inputs)
    rounded = model.to(dtype)(**inputs)
    assert rounded.to_tuple()[-1].dtype == dtype
    assert relative_error(rounded.to_tuple()[-1].float(), exact.to_tuple()[-1]) < 0.05
    if name == PRETRAINING:
        assert rounded.loss.dtype == torch.float32
        wanted = F.mse_loss(rounded.logits.float(), masked_targets(model, inputs))
        assert torch.equal(rounded.loss, wanted)  # computed in float32, not rounded to it
    if name == CLASSIFIER:
        labelled = model(**inputs, labels=torch.zeros(2, dtype=torch.long))
        assert labelled.loss.dtype == torch.float32


def test_autocast() -> None:
    model = small_model(PRETRAINING).train()
    inputs = inputs_for(model)
    exact = model(**inputs).loss
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(**inputs).loss
    loss.backward()
    assert loss.item() == pytest.approx(exact.item(), rel=0.02)
    assert model.mask_token.grad is not None


@pytest.mark.parametrize("name", CLASSES)
def test_forward_needs_no_value_from_the_device(name: str) -> None:
    """Tensors on "meta" have no values: a synchronisation would fail. The mask is on the CPU, where it is counted."""
    with torch.device("meta"):
        model = getattr(videomae, name)(VideoMAEConfig(**SMALL))
    inputs = inputs_for(model)
    inputs["pixel_values"] = inputs["pixel_values"].to("meta")
    if name == CLASSIFIER:
        inputs["labels"] = torch.zeros(2, dtype=torch.long, device="meta")
    output = model.to("meta")(**inputs)
    assert all(value.is_meta for value in output.to_tuple())


def test_built_on_meta_and_filled_later() -> None:
    wanted = small_model(PRETRAINING)
    with torch.device("meta"):
        model = videomae.VideoMAEForPreTraining(wanted.config)
    assert all(parameter.is_meta for parameter in model.parameters())
    emptied = videomae.VideoMAEForPreTraining(wanted.config).to("meta").to_empty(device="cpu")
    model.load_state_dict(wanted.state_dict(), assign=True)
    emptied.load_state_dict(wanted.state_dict())
    for filled in (model, emptied):
        assert torch.equal(filled.eval()(**inputs_for(wanted)).loss, wanted(**inputs_for(wanted)).loss)


def test_positions_are_not_saved() -> None:
    for name in CLASSES:
        assert not any("position" in key for key in small_model(name).state_dict())


def test_activation_given_as_a_function() -> None:
    named = small_model(CLASSIFIER, hidden_act="relu")
    for function in (F.relu, nn.ReLU()):
        given = small_model(CLASSIFIER, hidden_act=function)
        assert torch.equal(given(pixels(named.config)).logits, named(pixels(named.config)).logits)


def test_a_configuration_broken_after_it_was_made() -> None:
    config = VideoMAEConfig()
    config.num_attention_heads = 7
    with pytest.raises(UsageError, match="not a multiple of num_attention_heads=7"):
        videomae.VideoMAEModel(config)


def test_compiles_in_one_graph() -> None:
    model = small_model(CLASSIFIER)
    clip = pixels(model.config)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(clip).logits, model(clip).logits)


def test_distributed_data_parallel(tmp_path: Path) -> None:
    plain, model = small_model(PRETRAINING).train(), small_model(PRETRAINING).train()
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        DistributedDataParallel(model)(**inputs_for(model)).loss.backward()
    finally:
        distributed.destroy_process_group()
    plain(**inputs_for(plain)).loss.backward()
    for a, b in zip(plain.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
