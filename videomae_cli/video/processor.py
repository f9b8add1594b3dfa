"""From decoded frames to the pixels that a model takes: resize, centre crop, rescale, normalise.

The options and their meaning are those of transformers (HF image_processing_pil_videomae.py, image_transforms.py);
`preprocessor_config.json` is read and written as it does. The pixels agree with its Pillow-backed processor within
one level of 255.

Letters: B videos, T frames, C channels, H W pixels.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import pad

from ..errors import ModelError, UsageError, VideoError
from .checks import check_boolean, check_choice, check_number, check_per_channel, check_resample, check_size
from .forms import LAYOUTS, TENSOR_KINDS, BatchFeature, VideoInput, as_levels, as_tensors, load_frames, to_tensor
from .resize import resize
from .sampling import crop_offsets

MAX_RESIZED_PX = 2**24
"""Most pixels that one frame may be resized to; 224 px high, that is 330 times as wide."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_CLASS_KEYS = ("image_processor_type", "feature_extractor_type")  # in files; the class itself says it here


class VideoMAEImageProcessor:
    """Prepares videos for VideoMAE.

    Args:
        do_resize: resize, before anything else.
        size: {"shortest_edge": n} keeps the proportions (the other edge is rounded down), {"height": h, "width": w}
            does not; n alone means the former. Default: shortest edge 224 px.
        resample: a filter as its Pillow number, enumeration or name; 2 is bilinear.
        do_center_crop: cut the centre out; a smaller picture gets a black margin.
        crop_size: {"height": h, "width": w}; n alone means a square. Default: 224 px.
        do_rescale: multiply by `rescale_factor`.
        rescale_factor: default 1/255, from levels to [0, 1].
        do_normalize: subtract `image_mean` and divide by `image_std`, last.
        image_mean: one value, or one for each channel. Default: 0.5.
        image_std: likewise.
        **extra: what else a processor file holds; kept, and written back.

    Attributes:
        load_warnings: what the user should know of the checkpoint that it was loaded from.

    Raises:
        UsageError: a value of the wrong kind or range.
    """

    load_warnings: tuple[str, ...] = ()

    def __init__(
        self,
        do_resize: bool = True,
        size: int | Sequence[int] | dict[str, int] | None = None,
        resample: int | str = 2,
        do_center_crop: bool = True,
        crop_size: int | Sequence[int] | dict[str, int] | None = None,
        do_rescale: bool = True,
        rescale_factor: float = 1 / 255,
        do_normalize: bool = True,
        image_mean: float | Sequence[float] | None = None,
        image_std: float | Sequence[float] | None = None,
        **extra: Any,
    ) -> None:
        self.do_resize = check_boolean("do_resize", do_resize)
        self.size = check_size("size", 224 if size is None else size)
        self.resample = check_resample(resample)
        self.do_center_crop = check_boolean("do_center_crop", do_center_crop)
        self.crop_size = check_size("crop_size", 224 if crop_size is None else crop_size)
        self.do_rescale = check_boolean("do_rescale", do_rescale)
        self.rescale_factor = check_number("rescale_factor", rescale_factor)
        self.do_normalize = check_boolean("do_normalize", do_normalize)
        self.image_mean = check_per_channel("image_mean", [0.5, 0.5, 0.5] if image_mean is None else image_mean)
        self.image_std = check_per_channel("image_std", [0.5, 0.5, 0.5] if image_std is None else image_std)
        if 0 in np.atleast_1d(self.image_std):
            raise UsageError(f"image_std is {self.image_std}", "Pixels are divided by it: it must not be 0.")
        self.extra = {key: value for key, value in extra.items() if key not in _CLASS_KEYS}

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        revision: str | None = None,
        offline: bool = False,
        local_files_only: bool = False,
        token: str | None = None,
    ) -> VideoMAEImageProcessor:
        """Read the processor file of a checkpoint (`preprocessor_config.json`).

        Without one, an original checkpoint (a .pth file that has no configuration either) gets the ImageNet statistics
        that V1 and V2 train with, and any other the defaults of the class (mean = std = 0.5), as in transformers.

        Args:
            name_or_path: a folder, an alias, or a hub id ("MCG-NJU/videomae-base").
            revision: a branch, tag or commit of the hub repository.
            offline: never touch the network.
            local_files_only: the same, as transformers calls it.
            token: a hub token.

        Raises:
            ModelError: no such checkpoint, or its file holds a value that cannot be.
        """
        from ..weights.hub import locate
        from ..weights.read import read_json

        offline = offline or local_files_only
        files = locate(name_or_path, revision=revision, offline=offline, token=token, need=["processor"])
        path = files.processor
        if path is None:
            original = files.config is None
            processor = cls(image_mean=IMAGENET_MEAN, image_std=IMAGENET_STD) if original else cls()
            statistics = "the ImageNet mean and deviation are" if original else "mean = std = 0.5 is"
            processor.load_warnings = (f"{files.source} has no preprocessor_config.json; {statistics} assumed",)
            return processor
        options = {key: value for key, value in read_json(path).items() if key != "self"}
        try:
            return cls(**options)
        except UsageError as error:
            raise ModelError(f"{path}: {error.message}", error.hint) from None

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `preprocessor_config.json`, for this class and for transformers.

        Raises:
            MachineError: the folder cannot be written.
        """
        from ..weights.hub import PROCESSOR_NAME
        from ..weights.write import write_atomically

        write_atomically(Path(folder) / PROCESSOR_NAME, (json.dumps(self.to_dict(), indent=2) + "\n").encode())

    def to_dict(self) -> dict[str, Any]:
        """What `save_pretrained` writes."""
        return {**self.extra, "image_processor_type": "VideoMAEImageProcessor", **self._options()}

    def _options(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in ("extra", "load_warnings")}

    def __repr__(self) -> str:
        return f"{type(self).__name__} {json.dumps(self.to_dict(), indent=2)}"

    def __call__(self, images: VideoInput, **options: Any) -> BatchFeature:
        """The same as `preprocess`."""
        return self.preprocess(images, **options)

    def preprocess(
        self,
        videos: VideoInput,
        do_resize: bool | None = None,
        size: int | Sequence[int] | dict[str, int] | None = None,
        resample: int | str | None = None,
        do_center_crop: bool | None = None,
        crop_size: int | Sequence[int] | dict[str, int] | None = None,
        do_rescale: bool | None = None,
        rescale_factor: float | None = None,
        do_normalize: bool | None = None,
        image_mean: float | Sequence[float] | None = None,
        image_std: float | Sequence[float] | None = None,
        return_tensors: str | None = None,
        data_format: str | None = "channels_first",
        input_data_format: str | None = None,
    ) -> BatchFeature:
        """Prepare one video or a batch of them. Options that are given take the place of the processor's own.

        Args:
            videos: a frame, a list of frames (one video) or a list of videos; NumPy arrays, tensors or Pillow images.
                4-D arrays are videos, 5-D arrays batches. Levels in [0, 255] as any type, or floats in [0, 1]; for
                the latter set `do_rescale=False`.
            do_resize: see the class, as for all up to `image_std`.
            size: see the class.
            resample: see the class.
            do_center_crop: see the class.
            crop_size: see the class.
            do_rescale: see the class.
            rescale_factor: see the class.
            do_normalize: see the class.
            image_mean: see the class.
            image_std: see the class.
            return_tensors: None, "pt", "np", "tf" or "jax".
            data_format: where the result has its channels, "channels_first" or "channels_last"; None: as the input.
            input_data_format: where the input has them, "channels_first", "channels_last" or "none" (frames are
                (H, W)); None: found out, for 1, 3 or 4 channels, and first where both fit.

        Returns:
            `pixel_values`, float32: without `return_tensors` a list of videos, each a list of (C, H, W) or
            (H, W, C) arrays; with it one array (B, T, C, H, W) or (B, T, H, W, C). When neither rescaled nor
            normalised, uint8 stays uint8.

        Raises:
            UsageError: the input or an option cannot be used.
            VideoError: resized, the frames would be too large.
        """
        given = {
            "do_resize": do_resize,
            "size": size,
            "resample": resample,
            "do_center_crop": do_center_crop,
            "crop_size": crop_size,
            "do_rescale": do_rescale,
            "rescale_factor": rescale_factor,
            "do_normalize": do_normalize,
            "image_mean": image_mean,
            "image_std": image_std,
        }
        options = {**self._options(), **{key: value for key, value in given.items() if value is not None}}
        return VideoMAEImageProcessor(**options)._prepare(videos, return_tensors, data_format, input_data_format)

    def _prepare(
        self, videos: VideoInput, return_tensors: str | None, data_format: str | None, input_data_format: str | None
    ) -> BatchFeature:
        """`preprocess` by the processor's own options."""
        kind = None if return_tensors is None else check_choice("return_tensors", return_tensors, TENSOR_KINDS)
        given_layout = (
            None if input_data_format is None else check_choice("input_data_format", input_data_format, LAYOUTS)
        )
        batch, layout = load_frames(videos, given_layout)
        if data_format is not None:
            layout = check_choice("data_format", data_format, LAYOUTS[:2])
        pixels = [self.finish(_join([self._fit(frames)[0] for frames in video])) for video in batch]
        if layout == "channels_last":
            pixels = [video.movedim(1, -1) for video in pixels]  # (T, C, h, w) -> (T, h, w, C)
        return BatchFeature(pixel_values=as_tensors(pixels, kind))

    def crops(self, frames: npt.NDArray[np.uint8], num_crops: int = 1) -> Tensor:
        """Prepare one decoded video: the same arithmetic as `preprocess`, without copies, and with several crops.

        Args:
            frames: (T, H, W, C) uint8.
            num_crops: crops spread evenly along the longer side; 1 is the centre.

        Returns:
            (num_crops, T, C, h, w) float32.

        Raises:
            UsageError: several crops are asked of a processor that does not crop.
            VideoError: resized, the frames would be too large.
        """
        return self.finish(self.cut(frames, num_crops))

    def cut(self, frames: npt.NDArray[np.uint8], num_crops: int = 1) -> Tensor:
        """The first half of `crops`: what is resized and cropped, and not yet `finish`ed.

        Args:
            frames: (T, H, W, C) uint8.
            num_crops: see `crops`.

        Returns:
            (num_crops, T, C, h, w) uint8: a quarter of the bytes of what comes of it.

        Raises:
            UsageError: see `crops`.
            VideoError: see `crops`.
        """
        return torch.stack(self._fit(to_tensor(frames).movedim(-1, 1), num_crops))

    def _fit(self, frames: Tensor, num_crops: int = 1) -> list[Tensor]:
        """Resize and crop, (T, C, H, W) -> `num_crops` views (T, C, h, w)."""
        if self.do_resize:
            frames = self._resize(frames)
        if self.do_center_crop:
            return self._crop(frames, num_crops)
        if num_crops > 1:
            raise UsageError(f"{num_crops} spatial crops of a processor that has do_center_crop off")
        return [frames]

    def _resize(self, frames: Tensor) -> Tensor:
        height, width = frames.shape[-2:]
        if "shortest_edge" in self.size:
            edge, short = self.size["shortest_edge"], min(height, width)
            new_height, new_width = edge * height // short, edge * width // short
        else:
            new_height, new_width = self.size["height"], self.size["width"]
        if new_height * new_width > MAX_RESIZED_PX:  # a strip of two rows is within any limit until it is enlarged
            raise VideoError("too_large", f"frames of {width}x{height} would be resized to {new_width}x{new_height}")
        levels, in_unit_range = as_levels(frames)
        resized = resize(levels, new_height, new_width, self.resample)
        return resized.float() / 255 if in_unit_range else resized

    def _crop(self, frames: Tensor, num_crops: int) -> list[Tensor]:
        crop_height, crop_width = self.crop_size["height"], self.crop_size["width"]
        lack_y = max(0, crop_height - frames.shape[-2])
        lack_x = max(0, crop_width - frames.shape[-1])
        if lack_y or lack_x:  # an odd margin is wider at the left and the top, as in HF center_crop
            frames = pad(frames, ((lack_x + 1) // 2, lack_x // 2, (lack_y + 1) // 2, lack_y // 2))
        height, width = frames.shape[-2:]
        tops = crop_offsets(height, crop_height, num_crops if height >= width else 1)
        lefts = crop_offsets(width, crop_width, num_crops if height < width else 1)
        return [frames[..., y : y + crop_height, x : x + crop_width] for y in tops for x in lefts]

    def finish(self, pixels: Tensor) -> Tensor:
        """Rescale and normalise, as one product and one sum.

        Args:
            pixels: (..., C, h, w), on any device; floats are changed in place.

        Returns:
            The same shape in float32; what is neither rescaled nor normalised stays as it is.

        Raises:
            UsageError: there is a mean or deviation for another number of channels.
        """
        pixels = pixels.contiguous()
        if not (self.do_rescale or self.do_normalize):
            return pixels
        factor = self.rescale_factor if self.do_rescale else 1.0
        mean, std = (self.image_mean, self.image_std) if self.do_normalize else (0.0, 1.0)
        for name, values in (("image_mean", mean), ("image_std", std)):
            if isinstance(values, list) and len(values) != pixels.shape[-3]:
                raise UsageError(f"{name} has {len(values)} values, the frames have {pixels.shape[-3]} channels")
        affine = np.divide(factor, std), -np.divide(mean, std)  # in float64, rounded once
        gain, offset = (torch.tensor(x, dtype=torch.float32).reshape(-1, 1, 1).to(pixels.device) for x in affine)
        return pixels.float().mul_(gain).add_(offset)


class VideoMAEFeatureExtractor(VideoMAEImageProcessor):
    """The former name of `VideoMAEImageProcessor`; deprecated."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn("VideoMAEFeatureExtractor is deprecated: use VideoMAEImageProcessor", FutureWarning, stacklevel=2)
        super().__init__(*args, **kwargs)


def _join(parts: list[Tensor]) -> Tensor:
    """The frames of one video, (T, C, h, w), in new memory."""
    if len(shapes := {tuple(part.shape[1:]) for part in parts}) > 1:
        raise UsageError(
            f"frames of one video come out as {' and '.join(map(str, sorted(shapes)))}", "Crop them to one size."
        )
    return torch.cat(parts)
