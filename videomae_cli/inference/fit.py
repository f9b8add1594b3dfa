"""Whether the parts of a checkpoint fit each other, and video: found out once, before the first file is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import ModelError, UsageError
from ..model.checks import pair
from ..model.pretrained import MAX_TOKENS

if TYPE_CHECKING:
    from ..model.config import VideoMAEConfig
    from ..video.processor import VideoMAEImageProcessor

RGB = 3  # channels of the frames that the reader gives


def check_fit(config: VideoMAEConfig, processor: VideoMAEImageProcessor) -> list[str]:
    """Refuse a checkpoint that could classify no video.

    Args:
        config: of the model.
        processor: that prepares its frames.

    Returns:
        What fits, but not well: a warning where frames come in another size than the model was trained on.

    Raises:
        ModelError: it has no classifier, takes other than three channels, or its processor gives it nothing to use.
    """
    if config.num_labels == 0:
        raise ModelError("the checkpoint has no classifier: num_labels is 0", "Fine-tune it first.")
    if config.num_channels != RGB:
        raise ModelError(
            f"the checkpoint takes {config.num_channels} channels, and video is read as RGB",
            "Prepare its pixel values yourself, and call the model.",
        )
    if not processor.do_center_crop:
        return []  # then the size depends on the file
    crop = processor.crop_size["height"], processor.crop_size["width"]
    tubelet, *patch = config.patch_shape
    num_tokens = config.num_frames // tubelet * (crop[0] // patch[0]) * (crop[1] // patch[1])
    hint = "Correct preprocessor_config.json."
    if crop[0] % patch[0] or crop[1] % patch[1]:
        what = f"crop_size {crop[0]} x {crop[1]} does not divide into patches of {patch[0]} x {patch[1]}"
        raise ModelError(what, hint)
    if num_tokens > MAX_TOKENS:
        raise ModelError(f"crop_size {crop[0]} x {crop[1]} makes {num_tokens} tokens, more than {MAX_TOKENS}", hint)
    try:
        processor.crops(np.zeros((1, 8, 8, RGB), np.uint8))
    except UsageError as error:
        raise ModelError(error.message, hint) from None
    trained = pair(config.image_size)
    if crop == trained:
        return []
    return [f"the processor crops to {crop[0]} x {crop[1]} px, the model was trained on {trained[0]} x {trained[1]} px"]
