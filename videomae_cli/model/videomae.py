"""VideoMAE: the encoder, the masked autoencoder that pretrains it, and the classifier made of it.

"VideoMAE: Masked Autoencoders are Data-Efficient Learners for Self-Supervised Video Pre-Training", Tong et al., 2022;
same functions and names of options as HF modeling_videomae.py.

Letters: B batch, T frames, C channels, H W pixels, N tokens, V visible, M masked, D width, P numbers of one patch.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError
from .attention import check_implementation
from .config import VideoMAEConfig
from .kernels import Linear
from .layers import Attention, Blocks, Decoder, Embeddings, Sizes
from .masking import select, split_tokens
from .outputs import EncoderOutput, ModelOutput, PredictionOutput
from .positions import Positions
from .pretrained import PretrainedModel
from .targets import patchify, reconstruction_targets

Output = TypeVar("Output", bound=ModelOutput)


class _VideoMAE(PretrainedModel):
    """What the three models share beside loading and saving."""

    def __init__(self, config: VideoMAEConfig) -> None:
        super().__init__()
        config.validate()
        self.config = config

    def set_attn_implementation(self, name: str) -> None:
        """Change the attention backend.

        Args:
            name: "sdpa" or "eager".

        Raises:
            UsageError: it is neither.
        """
        check_implementation(name)
        for module in self.modules():
            if isinstance(module, Attention):
                module.implementation = name

    def gradient_checkpointing_enable(self) -> None:
        """In training, keep only the blocks' inputs and compute the rest again on the way back: less memory, slower."""
        self._checkpoint_gradients(True)

    def gradient_checkpointing_disable(self) -> None:
        """Undo `gradient_checkpointing_enable`."""
        self._checkpoint_gradients(False)

    def _checkpoint_gradients(self, flag: bool) -> None:
        for module in self.modules():
            if isinstance(module, Blocks):
                module.gradient_checkpointing = flag

    def _initialize(self, *parts: nn.Module) -> None:
        """Normal weights, zero biases; norms keep torch's ones and zeros. As HF."""
        for part in parts:
            for module in part.modules():
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=self.config.initializer_range)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)

    def _returned(self, output: Output, return_dict: bool | None) -> Output | tuple[Any, ...]:
        wants_names = self.config.return_dict if return_dict is None else return_dict
        return output if wants_names else output.to_tuple()


class VideoMAEModel(_VideoMAE):
    """The encoder: a plain vision transformer over space-time patches.

    Args:
        config: sizes and options.
        attn_implementation: "sdpa" or "eager".
    """

    def __init__(self, config: VideoMAEConfig, attn_implementation: str = "sdpa") -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config)
        sizes = Sizes(
            depth=config.num_hidden_layers,
            width=config.hidden_size,
            num_heads=config.num_attention_heads,
            hidden_width=config.intermediate_size,
        )
        self.blocks = Blocks(sizes, config, attn_implementation, config.drop_path_rate)
        # With mean pooling the classifier's fc_norm takes the place of this norm.
        self.norm = None if config.use_mean_pooling else nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self._initialize(self)

    def forward(
        self,
        pixel_values: Tensor,
        bool_masked_pos: Tensor | None = None,
        head_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> EncoderOutput | tuple[Any, ...]:
        """Encode clips, or what a mask leaves of them.

        Args:
            pixel_values: (B, T, C, H, W) floats. T, H and W may differ from the configuration's where they divide into
                patches; positions are then computed for the tokens that there are.
            bool_masked_pos: (B, N) bool, True = masked, as many in each clip; best left on the CPU, see `split_tokens`.
                Masked patches are dropped before anything is computed of them.
            head_mask: (h,) or (L, h), 1 to keep a head, 0 to silence it.
            output_attentions: return attention probabilities; None as the configuration says.
            output_hidden_states: return hidden states; None as the configuration says.
            return_dict: False for a plain tuple; None as the configuration says.

        Returns:
            `EncoderOutput`, or a tuple of its fields that are not None.

        Raises:
            UsageError: shapes or dtypes that do not fit.
        """
        N = self.embeddings.num_tokens(pixel_values)
        visible = None
        if bool_masked_pos is not None:
            visible, _ = split_tokens(bool_masked_pos, len(pixel_values), N, pixel_values.device)
        output = self.encode(pixel_values, visible, head_mask, output_attentions, output_hidden_states)
        return self._returned(output, return_dict)

    def encode(
        self,
        pixel_values: Tensor,
        visible: Tensor | None = None,
        head_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> EncoderOutput:
        """Embed, run the blocks, normalise: `forward` for a mask that is split already.

        Args:
            pixel_values: see `forward`, as for all but the next.
            visible: (B, V) indices of the tokens to encode; None for all.
            head_mask: see `forward`.
            output_attentions: see `forward`.
            output_hidden_states: see `forward`.

        Returns:
            `EncoderOutput`, of V tokens.
        """
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        x = self.embeddings(pixel_values, visible)  # (B, V, D)
        x, hidden_states, attentions = self.blocks(x, head_mask, output_hidden_states, output_attentions)
        if self.norm is not None:
            x = self.norm(x)
        return EncoderOutput(x, hidden_states, attentions)


class VideoMAEForPreTraining(_VideoMAE):
    """The masked autoencoder: an encoder of the visible tokens and a light decoder of the masked ones.

    Args:
        config: sizes and options.
        attn_implementation: "sdpa" or "eager".
    """

    def __init__(self, config: VideoMAEConfig, attn_implementation: str = "sdpa") -> None:
        super().__init__(config)
        width = config.decoder_hidden_size
        self.videomae = VideoMAEModel(config, attn_implementation)
        self.encoder_to_decoder = Linear(config.hidden_size, width, bias=False)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_positions = Positions(config.num_tokens, width)
        self.decoder = Decoder(config, attn_implementation)
        self._initialize(self.encoder_to_decoder, self.decoder)

    def forward(
        self,
        pixel_values: Tensor,
        bool_masked_pos: Tensor,
        head_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        bool_decoder_masked_pos: Tensor | None = None,
    ) -> PredictionOutput | tuple[Any, ...]:
        """Encode what is visible, decode what is masked, compare with the pixels.

        Args:
            pixel_values: (B, T, C, H, W) floats, RGB normalised with the ImageNet statistics.
            bool_masked_pos: (B, N) bool, True = masked, as many in each clip; see `VideoMAEModel.forward`.
            head_mask: (h,) or (L, h) for the encoder, 1 to keep a head, 0 to silence it.
            output_attentions: return the encoder's attention probabilities; None as the configuration says.
            output_hidden_states: return the encoder's hidden states; None as the configuration says.
            return_dict: False for a plain tuple; None as the configuration says.
            bool_decoder_masked_pos: (B, N) bool, True = not decoded, as many in each clip (VideoMAE V2, section 3.2).
                All other tokens are then decoded, and the loss is taken of those that the encoder did not see. None
                decodes exactly what is masked.

        Returns:
            `PredictionOutput`, its logits (B, M, P) in the order of the tokens decoded; or a tuple of its fields.

        Raises:
            UsageError: shapes or dtypes that do not fit, or a mask that leaves nothing to see or to predict.
        """
        if bool_masked_pos is None:
            raise UsageError(
                "pretraining needs bool_masked_pos", "The functions of videomae_cli.model.masking make masks."
            )
        (B, *_), device = pixel_values.shape, pixel_values.device
        N = self.videomae.embeddings.num_tokens(pixel_values)
        visible, predicted = split_tokens(bool_masked_pos, B, N, device)
        counted = None
        if bool_decoder_masked_pos is not None:
            predicted, _ = split_tokens(bool_decoder_masked_pos, B, N, device)
            counted = bool_masked_pos.to(device, non_blocking=True).gather(1, predicted)  # (B, M)
            if not (bool_masked_pos & ~bool_decoder_masked_pos).any():
                raise UsageError("every token that is left to decode is one that the encoder saw")
        if predicted.shape[1] == 0:
            raise UsageError("no token is masked, so there is nothing to predict")

        encoded = self.videomae.encode(pixel_values, visible, head_mask, output_attentions, output_hidden_states)
        logits = self.decode(encoded.last_hidden_state, visible, predicted, N)
        loss = self.loss(logits, pixel_values, predicted, counted)
        return self._returned(PredictionOutput(loss, logits, encoded.hidden_states, encoded.attentions), return_dict)

    def decode(self, encoded: Tensor, visible: Tensor, predicted: Tensor, num_tokens: int) -> Tensor:
        """Predict pixels. Tokens are not put back in order: their positions tell where they belong.

        Args:
            encoded: (B, V, D of the encoder).
            visible: (B, V) indices of the encoded tokens.
            predicted: (B, M) indices of the tokens to predict.
            num_tokens: N.

        Returns:
            (B, M, P).
        """
        x = self.encoder_to_decoder(encoded)  # (B, V, D of the decoder)
        positions = self.decoder_positions(num_tokens).to(x.dtype)  # (N, D)
        mask_tokens = self.mask_token.to(x.dtype) + positions[predicted]  # (B, M, D)
        pixels: Tensor = self.decoder(torch.cat([x + positions[visible], mask_tokens], dim=1), predicted.shape[1])
        return pixels

    def loss(self, logits: Tensor, pixel_values: Tensor, predicted: Tensor, counted: Tensor | None = None) -> Tensor:
        """Mean squared error, in float32.

        Args:
            logits: (B, M, P).
            pixel_values: (B, T, C, H, W).
            predicted: (B, M) indices of the predicted tokens.
            counted: (B, M) bool, which of them to average; None for all.

        Returns:
            Scalar.
        """
        with torch.no_grad():
            patches = select(patchify(pixel_values, self.config.patch_shape), predicted)  # (B, M, C, t*p*p)
            targets = reconstruction_targets(patches, normalize=self.config.norm_pix_loss)  # (B, M, P)
        if counted is None:
            return F.mse_loss(logits.float(), targets)
        errors = F.mse_loss(logits.float(), targets, reduction="none").mean(dim=2)  # (B, M)
        return (errors * counted).sum() / counted.sum()


class VideoMAEForVideoClassification(_VideoMAE):
    """The encoder with a linear head, on the mean of all tokens or on token 0.

    Args:
        config: sizes and options.
        attn_implementation: "sdpa" or "eager".
    """

    def __init__(self, config: VideoMAEConfig, attn_implementation: str = "sdpa") -> None:
        super().__init__(config)
        width = config.hidden_size
        self.videomae = VideoMAEModel(config, attn_implementation)
        self.fc_norm = nn.LayerNorm(width, eps=config.head_layer_norm_eps) if config.use_mean_pooling else None
        self.classifier = nn.Linear(width, config.num_labels) if config.num_labels else nn.Identity()
        self._initialize(self.classifier)

    def forward(
        self,
        pixel_values: Tensor,
        head_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> PredictionOutput | tuple[Any, ...]:
        """Score the classes of each clip.

        Args:
            pixel_values: (B, T, C, H, W) floats; see `VideoMAEModel.forward`.
            head_mask: (h,) or (L, h), 1 to keep a head, 0 to silence it.
            labels: (B,) class indices, or (B, num_labels) floats; see `classification_loss`.
            output_attentions: return attention probabilities; None as the configuration says.
            output_hidden_states: return hidden states; None as the configuration says.
            return_dict: False for a plain tuple; None as the configuration says.

        Returns:
            `PredictionOutput`, its logits (B, num_labels), or (B, D) where there is no head; or a tuple of its fields.

        Raises:
            UsageError: shapes or dtypes that do not fit.
        """
        encoded = self.videomae(
            pixel_values, None, head_mask, output_attentions, output_hidden_states, return_dict=True
        )
        tokens = encoded.last_hidden_state  # (B, N, D)
        features = tokens[:, 0] if self.fc_norm is None else self.fc_norm(tokens.mean(dim=1))  # (B, D)
        features = F.dropout(features, self.config.head_dropout_prob, self.training)
        logits = self.classifier(features)
        loss = None if labels is None else classification_loss(logits, labels, self.config)
        return self._returned(PredictionOutput(loss, logits, encoded.hidden_states, encoded.attentions), return_dict)


def classification_loss(logits: Tensor, labels: Tensor, config: VideoMAEConfig) -> Tensor:
    """The loss of a labelled batch, in float32; HF loss_utils.py.

    Args:
        logits: (B, num_labels).
        labels: (B,) or (B, 1) numbers for one-output regression, (B, num_labels) numbers for regression or for
            several labels at once (0 or 1 each), (B,) class indices for one label.
        config: `problem_type`. None means regression where `num_labels` is 1, else one label where `labels` are
            integers, else several.

    Returns:
        Scalar: mean squared error, cross entropy, or binary cross entropy.
    """
    problem = config.problem_type
    if problem is None:
        is_index = not labels.is_floating_point()
        problem = "single_label_classification" if is_index else "multi_label_classification"
        problem = problem if config.num_labels != 1 else "regression"
    logits, labels = logits.float(), labels.to(logits.device)
    if problem == "single_label_classification":
        return F.cross_entropy(logits, labels.flatten().long())
    if problem == "regression":
        return F.mse_loss(logits, labels.float().view_as(logits))
    return F.binary_cross_entropy_with_logits(logits, labels.float())
