"""VideoClassifier: one video in, its labels out.

Letters: V views (temporal x spatial), T frames, C channels, H W pixels.
"""

from __future__ import annotations

import operator
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from ..errors import MachineError, ModelError, UsageError, VideoError
from ..model.outputs import PredictionOutput
from ..model.videomae import VideoMAEForVideoClassification
from ..video.processor import VideoMAEImageProcessor
from ..video.sampling import Sampling, SamplingKind
from .cpu import TOKENS_AT_ONCE, fast_forward
from .device import choose_attention, choose_device, choose_dtype, memory_told
from .fit import check_fit
from .labels import name_classes
from .prepare import PreparedVideo, Preparer
from .records import Prediction, ScoredLabel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ..model.config import VideoMAEConfig

FRAME_SAMPLING = "frame_sampling"
"""Where a processor file of ours says how the checkpoint was trained: {"kind": "dense", "stride": 4}."""
SSV2_NUM_LABELS = 174  # Something-Something V2: trained on one frame from each of 16 equal segments


ACCELERATOR_TOKENS_AT_ONCE = 32 * 1568  # 32 views of the usual size
SMALLER = "Use a smaller --batch-size, --dtype bfloat16, or --device cpu."


class VideoClassifier:
    """A loaded checkpoint with everything that turns a file into labels.

    Args:
        model: the network, on its device, in its dtype, in evaluation mode.
        processor: frames to pixel values, as the checkpoint was trained.
        labels: the name of each output.
        warnings: what the user should know of the checkpoint.
        fast: on a CPU, compute by `inference/cpu.py` where that can; on weights as they are at the first use.
    """

    def __init__(
        self,
        model: VideoMAEForVideoClassification,
        processor: VideoMAEImageProcessor,
        labels: Sequence[str],
        warnings: Sequence[str] = (),
        *,
        fast: bool = True,
    ) -> None:
        self.model = model.eval()
        self.processor = processor
        self.labels = tuple(labels)
        self.warnings = tuple(warnings)
        self._fast = fast

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        device: str = "auto",
        dtype: str = "auto",
        attention: str = "auto",
        *,
        revision: str | None = None,
        offline: bool = False,
    ) -> VideoClassifier:
        """Load a checkpoint.

        Args:
            name_or_path: an alias ("base-k400"), a hub id, a folder, or a .safetensors or .pth file.
            device: "auto" or a torch device.
            dtype: "auto", "float32", "bfloat16" or "float16".
            attention: "eager" or "sdpa" for the model as it is written; "auto" for what is fastest: on a CPU
                `inference/cpu.py`, else sdpa.
            revision: branch, tag or commit of a hub repository.
            offline: use what is cached and make no request.

        Raises:
            ModelError: the checkpoint cannot be found, fetched or loaded.
            MachineError: the device or dtype is not to be had here.
            UsageError: an argument is none of its choices.
        """
        torch_device = choose_device(device)
        torch_dtype = choose_dtype(dtype, torch_device)
        backend = choose_attention(attention)
        model = VideoMAEForVideoClassification.from_pretrained(
            name_or_path, attn_implementation=backend, dtype=torch_dtype, revision=revision, offline=offline
        )
        processor = VideoMAEImageProcessor.from_pretrained(name_or_path, revision=revision, offline=offline)
        fit_warnings = check_fit(model.config, processor)
        trained_sampling(processor.extra, model.config.num_frames)  # refused now, not at the first video
        labels, label_warning = name_classes(model.config.id2label, model.config.num_labels)
        warnings = [*model.load_warnings, *processor.load_warnings, *fit_warnings]
        if label_warning:
            warnings.append(label_warning)
        try:
            model = model.to(torch_device)
        except torch.OutOfMemoryError as error:
            raise MachineError(
                f"the model does not fit into the memory of {torch_device}", "Use --device cpu."
            ) from error
        return cls(model, processor, labels, warnings, fast=attention == "auto")

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        """The type that the model computes in."""
        return self.model.dtype

    @property
    def views_at_once(self) -> int:
        """How many views of a video, or of several, one forward pass takes best."""
        on_cpu = self.device.type == "cpu"
        return max(1, (TOKENS_AT_ONCE if on_cpu else ACCELERATOR_TOKENS_AT_ONCE) // self.model.config.num_tokens)

    def sampling(self, stride: int | None = None, kind: SamplingKind | None = None) -> Sampling:
        """How this checkpoint wants its frames chosen.

        Args:
            stride: distance of neighbouring frames; None follows the data set that the checkpoint was trained on.
            kind: "dense" or "segments"; None is dense with a stride, and else follows that data set too.
        """
        config = self.model.config
        trained = trained_sampling(self.processor.extra, config.num_frames)
        if trained is None:
            trained = Sampling("segments" if config.num_labels == SSV2_NUM_LABELS else "dense", config.num_frames)
        if kind is None:
            kind = trained.kind if stride is None else "dense"
        return Sampling(kind, config.num_frames, trained.stride if stride is None else stride)

    @cached_property
    def forward(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """The forward pass in use: pixel values (B, T, C, H, W) on the model's device -> logits (B, num_labels)."""
        return (fast_forward(self.model) if self._fast else None) or self.plain_forward

    def plain_forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The model as it is written, for `forward` where there is nothing faster."""
        # Not what the checkpoint's configuration would return beside the logits.
        output = self.model(pixel_values, output_attentions=False, output_hidden_states=False, return_dict=True)
        assert isinstance(output, PredictionOutput)
        return output.logits

    def logits(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """One forward pass.

        Args:
            pixel_values: (B, T, C, H, W), normalised; any device, any floating dtype.

        Returns:
            (B, num_labels) float32, on the model's device.

        Raises:
            MachineError: out of memory.
        """
        with memory_told(f"on {self.device} with {len(pixel_values)} views at once", SMALLER), torch.inference_mode():
            moved = pixel_values.to(device=self.device, dtype=self.dtype, non_blocking=True)
            return self.forward(moved).float()

    def logits_of_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """One forward pass, from the pixels of prepared videos.

        Args:
            pixels: uint8 (B, T, C, H, W); finished by the processor on the model's device, where that costs least.

        Returns:
            (B, num_labels) float32, on the CPU.

        Raises:
            MachineError: out of memory.
        """
        with memory_told(f"on {self.device} with {len(pixels)} views at once", SMALLER):
            finished = self.processor.finish(pixels.to(self.device, non_blocking=True))
            return self.logits(finished).cpu()

    def classify(
        self,
        path: str | os.PathLike[str],
        top_k: int = 5,
        views: tuple[int, int] = (1, 1),
        stride: int | None = None,
    ) -> Prediction:
        """Name what happens in a video.

        Args:
            path: a video file, or a folder of pictures, which are its frames.
            top_k: how many labels, at least 1; more than there are gives all.
            views: temporal x spatial views, whose probabilities are averaged; (5, 3) is the paper's protocol.
            stride: distance of neighbouring frames in frames of the source; None is the checkpoint's own (4, or equal
                segments for Something-Something V2).

        Raises:
            VideoError: this file cannot be read or classified; `.kind` says why.
        """
        prepared = self.preparer(views=views, stride=stride)(path)
        views_at_once = self.views_at_once
        logits = [self.logits_of_pixels(pixels) for pixels in torch.split(prepared.pixels, views_at_once)]
        return self.conclude(prepared, torch.cat(logits), top_k)

    def preparer(
        self,
        *,
        views: tuple[int, int] = (1, 1),
        stride: int | None = None,
        sampling_kind: SamplingKind | None = None,
        max_pixels: int | None = None,
        allow_images: bool = False,
        strict: bool = False,
        num_thumbnails: int = 0,
    ) -> Preparer:
        """What reads, samples, resizes and crops videos for this checkpoint.

        Args:
            views: temporal x spatial views.
            stride: see `classify`.
            sampling_kind: "dense" or "segments"; see `sampling`.
            max_pixels: see `Preparer`.
            allow_images: see `Preparer`.
            strict: see `Preparer`.
            num_thumbnails: see `Preparer`.
        """
        sampling = self.sampling(stride, sampling_kind)
        return Preparer(self.processor, sampling, views, max_pixels, allow_images, strict, num_thumbnails)

    def conclude(self, prepared: PreparedVideo, logits: torch.Tensor, top_k: int = 5) -> Prediction:
        """Mean over views, best labels.

        Args:
            prepared: a video from `preparer`.
            logits: (V, num_labels), of its views.
            top_k: how many labels, at least 1.

        Raises:
            VideoError: the logits are not finite (kind "non_finite").
        """
        if top_k < 1:
            raise UsageError(f"top_k must be at least 1, not {top_k}")
        scores = to_scores(logits, self.model.config).mean(dim=0)
        if not scores.isfinite().all():
            raise VideoError("non_finite", f"the model's output for {prepared.path!r} is not finite ({self.dtype})")
        return Prediction(
            path=prepared.path,
            predictions=self.best(scores, top_k),
            sampling=prepared.sampling,
            video=prepared.video,
            warnings=prepared.warnings,
            thumbnails=prepared.thumbnails,
        )

    def best(self, scores: torch.Tensor, top_k: int) -> tuple[ScoredLabel, ...]:
        """The labels of the highest scores, best first; scores are (num_labels,)."""
        best = scores.topk(min(top_k, len(scores)))
        return tuple(
            ScoredLabel(self.labels[index], index, score)
            for score, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        )


def trained_sampling(extra: Mapping[str, Any], num_frames: int) -> Sampling | None:
    """How the frames were chosen that a checkpoint was trained on, if its processor file says so.

    Args:
        extra: of the processor.
        num_frames: of a clip.

    Raises:
        ModelError: it says something that cannot be.
    """
    told = extra.get(FRAME_SAMPLING)
    if told is None:
        return None
    try:
        return Sampling(told["kind"], num_frames, operator.index(told["stride"]))
    except (KeyError, TypeError, UsageError):
        what = f"{FRAME_SAMPLING} is {told!r} in the processor file"
        raise ModelError(what, 'It is such as {"kind": "dense", "stride": 4}.') from None


def to_scores(logits: torch.Tensor, config: VideoMAEConfig) -> torch.Tensor:
    """Scores from logits, by the kind of problem: softmax, sigmoid for several labels at once, raw for regression."""
    if config.problem_type == "regression" or config.num_labels == 1:
        return logits
    if config.problem_type == "multi_label_classification":
        return logits.sigmoid()
    return logits.softmax(dim=-1)
