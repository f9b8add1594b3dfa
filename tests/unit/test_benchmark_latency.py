"""Forward passes and training steps of a tiny model: what the rows say of them, save for how long they took."""

from __future__ import annotations

import mmap
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.models import SMALL, small_model
from videomae_cli.benchmark import latency
from videomae_cli.benchmark.ceiling import find_ceiling
from videomae_cli.benchmark.clock import wall_watch
from videomae_cli.benchmark.contestants import forward_pass, idle_optimizer, training_step
from videomae_cli.benchmark.kernels import FirstAttention
from videomae_cli.benchmark.latency import OUT_OF_MEMORY, OWN_KERNEL, LatencyBench
from videomae_cli.benchmark.memory import ResidentGauge, find_gauge, num_bytes
from videomae_cli.benchmark.models import load_model, random_clips, random_model, training_targets, with_attention
from videomae_cli.benchmark.records import Row, Settings
from videomae_cli.benchmark.timing import Effort
from videomae_cli.inference import cpu
from videomae_cli.inference.classifier import VideoClassifier
from videomae_cli.inference.device import is_out_of_memory
from videomae_cli.model import attention
from videomae_cli.model.config import VideoMAEConfig
from videomae_cli.model.videomae import VideoMAEForVideoClassification
from videomae_cli.video.processor import VideoMAEImageProcessor

CPU = torch.device("cpu")
ASKED = Settings("forward", "tiny", "finetune", "cpu", ("float32",), ("eager", "sdpa"), (1, 3), Effort(1, 2))


def rows(model: Any = None, **settings: Any) -> list[Row]:
    model = model or small_model("VideoMAEForVideoClassification", num_labels=5)
    return [row for found in LatencyBench(model, replace(ASKED, **settings), lambda: False).rows() for row in found]


def model_of_128_tokens() -> VideoMAEForVideoClassification:
    """Three blocks of the small architecture, with weights of 21 MB."""
    config = VideoMAEConfig.preset("small")
    config.image_size, config.num_hidden_layers, config.num_labels = 64, 3, 5
    return random_model(VideoMAEForVideoClassification, config)


def test_there_is_a_row_for_every_combination() -> None:
    found = rows(dtypes=("float32", "bfloat16"), attentions=("eager", "sdpa", "auto"))
    assert [(row.case.batch_size, row.case.dtype, row.case.attention) for row in found] == [
        (batch_size, dtype, attention)
        for batch_size in (1, 3)
        for dtype in ("float32", "bfloat16")
        for attention in ("eager", "sdpa", "auto")
    ]
    for row in found:
        assert (len(row.warmup_ms), len(row.samples_ms), row.error) == (1, 2, "")
        assert row.num_items == row.case.batch_size
        assert row.flops
        assert row.peak_bytes


def test_the_reference_is_eager_or_else_the_first_named() -> None:
    by_attention = {row.case.attention: row for row in rows(attentions=("sdpa", "eager", "auto"), batch_sizes=(2,))}
    eager, sdpa = by_attention["eager"], by_attention["sdpa"]
    assert eager.median_ms
    assert sdpa.median_ms
    assert (eager.speedup, sdpa.speedup) == (1.0, eager.median_ms / sdpa.median_ms)
    assert eager.max_logit_difference is None
    assert sdpa.max_logit_difference is not None
    first, second = rows(attentions=("sdpa", "auto"), batch_sizes=(2,))
    assert (first.speedup, first.max_logit_difference) == (1.0, None)
    assert second.max_logit_difference is not None


def test_backends_that_agree_differ_by_rounding_alone() -> None:
    _, sdpa, auto = rows(attentions=("eager", "sdpa", "auto"), batch_sizes=(2,))
    for row in (sdpa, auto):
        assert row.max_logit_difference is not None
        assert row.logit_std is not None
        assert row.max_logit_difference < 1e-5 * row.logit_std


def test_a_fast_wrong_kernel_shows_in_the_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault: a scale that is off by a tenth. The random weights of an architecture are such that it shows."""
    right = attention.self_attention

    def wrong(qkv: Tensor, dropout: float = 0.0) -> Tensor:
        return right(torch.cat([qkv[:, :, :1] * 1.1, qkv[:, :, 1:]], dim=2), dropout)

    model = model_of_128_tokens()
    _, *healthy = rows(model, attentions=("eager", "sdpa", "auto"), batch_sizes=(1,))
    monkeypatch.setattr(attention, "self_attention", wrong)
    monkeypatch.setattr(cpu, "self_attention", wrong)
    _, *faulty = rows(model, attentions=("eager", "sdpa", "auto"), batch_sizes=(1,))
    for before, after in zip(healthy, faulty, strict=True):
        assert before.max_logit_difference is not None
        assert after.max_logit_difference is not None
        assert before.logit_std is not None
        assert before.max_logit_difference < 1e-5 * before.logit_std
        assert after.max_logit_difference > 1e-2 * before.logit_std


@pytest.mark.parametrize(
    ("dtype", "task"), [("float32", "finetune"), ("bfloat16", "finetune"), ("float32", "pretrain")]
)
def test_training_steps(dtype: str, task: Any) -> None:
    kind = {"finetune": "VideoMAEForVideoClassification", "pretrain": "VideoMAEForPreTraining"}[task]
    options = {"num_labels": 5} if task == "finetune" else {}
    found = rows(small_model(kind, **options), mode="train", task=task, dtypes=(dtype,))
    assert [(row.case.mode, row.case.task, len(row.samples_ms)) for row in found] == [("train", task, 2)] * 4
    for row in found:
        if row.case.attention == "sdpa":
            assert row.max_logit_difference is not None
            assert row.max_logit_difference < (1e-5 if dtype == "float32" else 0.2)


def test_a_training_step_does_its_work_and_leaves_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model("VideoMAEForVideoClassification", num_labels=5).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = idle_optimizer(model)
    clips = random_clips(model.config, 2)
    logits = training_step(model, optimizer, clips, training_targets(model, 2), torch.float32)()
    moments = [state["exp_avg_sq"] for state in optimizer.state.values()]
    assert len(moments) == len(list(model.parameters()))
    assert all(moment.any() for moment in moments)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(logits, forward_pass(model, clips)())


@pytest.mark.parametrize("is_told", [True, False])
def test_out_of_memory_is_a_row_and_the_run_goes_on(is_told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand million clips are 50 TB: not tried where the system tells what is free, else more than torch gets."""
    if not is_told:
        monkeypatch.setattr(ResidentGauge, "free_bytes", lambda gauge: None)
    found = rows(batch_sizes=(10**9, 1))
    assert [row.error for row in found] == [OUT_OF_MEMORY] * 2 + [""] * 2
    assert [len(row.samples_ms) for row in found] == [0, 0, 2, 2]


def test_a_batch_that_would_not_fit_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux would grant the memory page by page, and then kill the process. One clip tells how much 100 would take."""
    monkeypatch.setattr(ResidentGauge, "free_bytes", lambda gauge: 90_000_000)
    largest = 0

    def clips(config: VideoMAEConfig, batch_size: int) -> Tensor:
        nonlocal largest
        largest = max(largest, batch_size)
        return random_clips(config, batch_size)

    monkeypatch.setattr(latency, "random_clips", clips)
    found = rows(model_of_128_tokens(), batch_sizes=(150, 3))
    assert [row.error for row in found] == [OUT_OF_MEMORY] * 2 + [""] * 2
    assert largest == 3


def test_the_weights_of_a_contestant_are_not_counted_for_each_clip() -> None:
    """`inference/cpu.py` holds them in a layout of its own, once: 21 MB; a clip takes 3 MB."""
    bench = LatencyBench(model_of_128_tokens(), replace(ASKED, attentions=("auto",), batch_sizes=(1,)), lambda: False)
    list(bench.rows())
    assert bench._call_bytes_per_clip["float32", "auto"] < 15e6


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"),
            True,
        ),
        (RuntimeError("shapes do not match"), False),
        (ValueError("can't"), False),
    ],
)
def test_errors_that_say_that_memory_ran_out(error: Exception, is_it: bool) -> None:
    assert is_out_of_memory(error) is is_it


def test_onednn_without_memory_ends_a_row_and_other_errors_the_run() -> None:
    """Its words as they were under `ulimit -v`, where they come and go with the last few MB."""
    with latency._out_of_memory_ends(CPU):
        raise RuntimeError("could not create a primitive")
    with pytest.raises(RuntimeError, match="descriptor"), latency._out_of_memory_ends(CPU):
        raise RuntimeError("could not create a primitive descriptor for a matmul primitive")


def test_the_classifiers_own_error_counts_too() -> None:
    model = small_model("VideoMAEForVideoClassification", num_labels=5)
    classifier = VideoClassifier(model, VideoMAEImageProcessor(), "abcde", fast=False)
    clip = random_clips(model.config, 1)
    with pytest.raises(Exception, match="out of memory") as caught:
        classifier.logits(clip.expand(10**9, *clip.shape[1:]))
    assert is_out_of_memory(caught.value)


def test_an_interruption_between_batch_sizes_keeps_the_rows_before_it() -> None:
    calls = 0

    def stop() -> bool:
        return calls > 0

    bench = LatencyBench(small_model("VideoMAEForVideoClassification", num_labels=5), ASKED, stop)
    found = []
    for some in bench.rows():
        found += some
        calls += 1
    assert [row.case.batch_size for row in found] == [1, 1]


def taken(num_bytes: int) -> mmap.mmap:
    """Memory that closing gives back, which the C library need not do with what it allocates."""
    memory = mmap.mmap(-1, num_bytes)
    memory[::4096] = bytes(num_bytes // 4096 + (num_bytes % 4096 > 0))  # each page
    return memory


def test_peak_memory_is_that_of_the_row() -> None:
    gauge = find_gauge(CPU)
    assert gauge is not None, "Linux tells"
    held = taken(40_000_000)
    before = gauge.level_bytes()
    gauge.reset_peak()
    held.close()
    assert gauge.peak_bytes() - before < 5e6
    taken(100_000_000).close()
    assert gauge.peak_bytes() - before == pytest.approx(60e6, rel=0.2)  # 100 MB, where 40 MB had become free
    gauge.reset_peak()
    assert gauge.peak_bytes() < before


def test_shared_storage_counts_once() -> None:
    x = torch.zeros(1000)
    assert num_bytes([x, x.view(10, 100), torch.zeros(5)]) == 4020


@pytest.mark.parametrize("is_inference", [True, False])
@pytest.mark.parametrize(("dropout", "kernel"), [(0.0, "flash"), (0.5, "math")])
def test_the_kernel_is_the_one_that_torch_chooses(is_inference: bool, dropout: float, kernel: str) -> None:
    """On a CPU torch has flash attention, but not with dropout."""
    with torch.inference_mode(is_inference), FirstAttention() as first:
        x = torch.randn(1, 2, 8, 16)
        functional.scaled_dot_product_attention(x, x, x, dropout_p=dropout)
    assert first.kernel == kernel


def test_where_there_is_no_kernel_there_is_no_name() -> None:
    """Of few tokens torch's own kernel takes care; `classify` calls it too."""
    found = {row.case.attention: row.kernel for row in rows(attentions=("eager", "sdpa", "auto"), batch_sizes=(1,))}
    assert found == {"eager": None, "sdpa": "flash", "auto": "flash"}


def test_our_own_kernel_is_named() -> None:
    attentions = ("eager", "sdpa", "auto")
    found = rows(model_of_128_tokens(), attentions=attentions, batch_sizes=(1,))
    ours = OWN_KERNEL if torch.backends.cpu.get_cpu_capability() == "AVX512" else "flash"
    assert [row.kernel for row in found] == [None, ours, ours]


def test_models_of_two_attentions_share_their_weights() -> None:
    model = small_model("VideoMAEForVideoClassification", num_labels=5)
    twin = with_attention(model, "eager")
    assert [p.data_ptr() for p in twin.parameters()] == [p.data_ptr() for p in model.parameters()]
    assert {block.attention.implementation for block in twin.videomae.blocks} == {"eager"}
    assert {block.attention.implementation for block in model.videomae.blocks} == {"sdpa"}


def test_an_architecture_is_the_same_each_time_and_leaves_the_seed_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one, other = load_model("small"), load_model("small")
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert (one.num_parameters(), one.config.num_labels) == (22_033_936, 400)


def test_clips_have_the_shape_of_the_model() -> None:
    assert random_clips(VideoMAEConfig(**SMALL), 3).shape == (3, 4, 3, 32, 32)
    assert random_clips(VideoMAEConfig(image_size=(32, 48), num_channels=1), 1).shape == (1, 16, 1, 32, 48)


def test_the_ceiling_is_the_best_of_several_products() -> None:
    """With a clock that says 1 s whatever it runs, the largest product wins."""

    def watch(call: Any) -> float:
        call()
        return 1000.0

    found = find_ceiling(CPU, torch.float32, VideoMAEConfig(**SMALL), watch)
    assert found.tflops == pytest.approx(2 * 2048**3 / 1e12)
    assert found.how.startswith("2048 x 2048 x 2048, ")
    slower = replace(found, tflops=found.tflops / 2)
    assert find_ceiling(CPU, torch.float32, VideoMAEConfig(**SMALL), watch, slower) == found
    faster = replace(found, tflops=found.tflops * 2)
    assert find_ceiling(CPU, torch.float32, VideoMAEConfig(**SMALL), watch, faster) == faster


def test_a_clock_waits_for_the_call() -> None:
    ran = []
    assert wall_watch(CPU)(lambda: ran.append(sum(range(1000)))) > 0
    assert ran == [499500]
