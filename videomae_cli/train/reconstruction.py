"""A picture of what a masked autoencoder makes of a clip: what it is shown, and what it paints where it is not.

Letters: T frames, C channels, H W pixels, N tokens, M masked; one patch is t frames of p x q pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..model.outputs import PredictionOutput
from ..model.targets import normalized_targets, patchify, unpatchify
from ..model.videomae import VideoMAEForPreTraining
from ..video.picture_file import Picture, draw_caption

_MAX_COLUMNS = 8
_GAP_PX = 2
_HIDDEN_LEVEL = 0.5  # of masked pixels, in [0, 1]
_SHOWN_DEVIATIONS = 3.0  # normalised values from -3 to 3 are shown as black to white
_MIN_WIDTH_PX = 600  # room for the captions

INPUT = "input"
MASKED = "what the encoder sees"
RAW = "reconstruction: nothing of the masked pixels is used"
LEAKY = "reconstruction, LEAKY: each patch has the original's mean and deviation"
NORMALIZED = "prediction as it is: patches less their mean, in deviations; no leak"


@torch.no_grad()
def reconstruction_picture(
    model: VideoMAEForPreTraining, clip: Tensor, mask: Tensor, mean: Sequence[float], std: Sequence[float]
) -> Picture:
    """Draw a clip, its visible part and its reconstruction below each other, each with a caption.

    Targets that are normalised patch by patch do not tell the mean and deviation of a patch. Their prediction can be
    shown with the original's, which the model does not know (V1 run_videomae_vis.py does so; the caption says it), or
    as the normalised values that they are. Both are drawn.

    Args:
        model: in any mode, which it is left in; its `norm_pix_loss` says what it predicts.
        clip: uint8 RGB (T, C, H, W).
        mask: (N,) bool, True = hidden.
        mean: of each channel, of pixels in [0, 1]; the ImageNet statistics, as for training.
        std: likewise.

    Returns:
        uint8 RGB (height, width, 3); a column for each of up to 8 frames, spread over the clip.
    """
    pixels = clip[None].float() / 255  # (1, T, C, H, W)
    patch_shape = model.config.patch_shape
    patches = patchify(pixels, patch_shape)  # (1, N, C, t*p*q)
    predicted = _predict(model, pixels, mask, mean, std)  # (M, C, t*p*q)

    def painted(canvas: Tensor, hidden: Tensor | float) -> Tensor:
        """The clip with other patches at the masked places: (1, T, C, H, W)."""
        canvas = canvas.clone()
        canvas[0, mask] = hidden
        t, p, q = patch_shape
        _, T, _, H, W = pixels.shape
        return unpatchify(canvas, patch_shape, (T // t, H // p, W // q))

    rows = {INPUT: pixels, MASKED: painted(patches, _HIDDEN_LEVEL)}
    if model.config.norm_pix_loss:
        deviation, average = torch.std_mean(patches[0, mask], dim=-1, keepdim=True)  # (M, C, 1)
        rows[LEAKY] = painted(patches, predicted * deviation + average)
        rows[NORMALIZED] = painted(normalized_targets(patches), predicted) / (2 * _SHOWN_DEVIATIONS) + 0.5
    else:
        rows[RAW] = painted(patches, predicted)
    return _draw({caption: row[0] for caption, row in rows.items()}, patch_shape[0])


def _predict(
    model: VideoMAEForPreTraining, pixels: Tensor, mask: Tensor, mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    """What the model predicts of the masked patches: (M, C, t*p*q) float32 on the CPU."""
    C = pixels.shape[2]
    normalized = (pixels - torch.tensor(mean).view(C, 1, 1)) / torch.tensor(std).view(C, 1, 1)
    was_training = model.training
    model.eval()
    output = model(normalized.to(model.device, model.dtype), mask[None], return_dict=True)
    model.train(was_training)
    assert isinstance(output, PredictionOutput)
    values = output.logits[0].float().cpu()  # (M, t*p*q*C), channel fastest
    return values.view(len(values), -1, C).transpose(1, 2)  # (M, t*p*q, C) -> (M, C, t*p*q)


def _draw(rows: dict[str, Tensor], tubelet_size: int) -> Picture:
    """Rows of frames, each with its caption above; clips (T, C, H, W) of levels in [0, 1]."""
    some = next(iter(rows.values()))
    T, _, H, W = some.shape
    num_columns = min(_MAX_COLUMNS, T // tubelet_size)
    columns = [tubelet_size * (T // tubelet_size * k // num_columns) for k in range(num_columns)]  # other masks alike
    width = max(num_columns * (W + _GAP_PX), _MIN_WIDTH_PX)
    strips = []
    for caption, clip in rows.items():
        strip = np.full((H + _GAP_PX, width, 3), 255, np.uint8)
        for number, frame in enumerate(columns):
            levels = (clip[frame].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()  # (H, W, C)
            strip[:H, number * (W + _GAP_PX) :][:, :W] = levels
        strips += [draw_caption(caption, width), strip]
    return np.concatenate(strips)
