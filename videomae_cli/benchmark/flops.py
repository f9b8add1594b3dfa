"""Floating-point operations of the models, counted from the configuration: every matrix product, nothing else.

A multiplication and an addition are two operations, as `torch.utils.flop_counter` counts (the tests compare the two);
published figures often count the pair once. Counted is what the model asks for: what a backend computes twice to save
memory counts once, and the 2% that `inference/cpu.py` finds a way around count too.

Letters: N tokens, V visible, M masked, D width, P numbers of one patch.
"""

from __future__ import annotations

from ..model.config import VideoMAEConfig


def classification_flops(config: VideoMAEConfig, *, training: bool = False) -> int:
    """Of one clip through VideoMAEForVideoClassification.

    Args:
        config: sizes.
        training: forward and backward pass, rather than forward alone.
    """
    N = config.num_tokens
    rest = _encoder_blocks(config, N) + _linear(1, config.hidden_size, config.num_labels)
    return _step(_embedding(config, N), rest, training)


def pretraining_flops(config: VideoMAEConfig, num_visible: int, *, training: bool = False) -> int:
    """Of one clip through VideoMAEForPreTraining, all masked tokens decoded.

    Args:
        config: sizes.
        num_visible: V.
        training: forward and backward pass, rather than forward alone.
    """
    N, V, D = config.num_tokens, num_visible, config.decoder_hidden_size
    rest = (
        _encoder_blocks(config, V)
        + _linear(V, config.hidden_size, D)
        + config.decoder_num_hidden_layers * _block(N, D, config.decoder_intermediate_size)
        + _linear(N - V, D, config.num_pixels_per_patch)
    )
    return _step(_embedding(config, V), rest, training)


def _step(embedding: int, rest: int, training: bool) -> int:
    """Going back takes two products for each one forward: for the weights, and for the input unless that is pixels."""
    return 2 * embedding + 3 * rest if training else embedding + rest


def _embedding(config: VideoMAEConfig, num_tokens: int) -> int:
    return _linear(num_tokens, config.num_pixels_per_patch, config.hidden_size)


def _encoder_blocks(config: VideoMAEConfig, num_tokens: int) -> int:
    return config.num_hidden_layers * _block(num_tokens, config.hidden_size, config.intermediate_size)


def _block(num_tokens: int, width: int, hidden_width: int) -> int:
    N, D = num_tokens, width
    attention = _linear(N, D, 3 * D) + 2 * (2 * N * N * D) + _linear(N, D, D)  # q k v, then q k^T and p v, then output
    return attention + 2 * _linear(N, D, hidden_width)


def _linear(num_rows: int, width_in: int, width_out: int) -> int:
    return 2 * num_rows * width_in * width_out
