"""Where a CPU has a faster way than the one torch takes by itself: the same formulas, by other operators of torch.

Each function looks at the tensors that it gets, and is torch's own function wherever the other way does not apply.

Letters: B batch, N tokens, I and O widths in and out, h heads, d width of a head, G heads at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function, forward_ad
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_MIN_MULTIPLICATIONS = 2**24  # of a matrix product; smaller ones cost less than the calls around them
_MIN_TOKENS = 128  # fewer are computed in no time
_FEW_TOKENS = 512
_MAX_TOKENS = 4096  # N x N numbers of one head: 64 MB in float32
_MAX_THREADS = 16  # one head keeps no more of them busy


class Linear(nn.Linear):
    """`nn.Linear`, computed by `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., I) -> (..., O).

        Args:
            input: (..., I).
        """
        return linear(input, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The map x W^T + b, as `F.linear`.

    Torch gives float32 products to MKL, which leaves the 512-bit units of AMD's processors unused. oneDNN, to which it
    gives bfloat16, uses them: 190 and 215 GFLOP/s on two cores of Zen 4, 190 and 440 on Zen 5; on Intel's both do.

    Args:
        x: (..., I).
        weight: (O, I).
        bias: (O,).

    Returns:
        (..., O).
    """
    is_float32 = x.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if is_float32 and x.numel() * len(weight) >= _MIN_MULTIPLICATIONS and _is_plain(x, weight):
        y: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return y
    return F.linear(x, weight, bias)


def self_attention(qkv: Tensor, dropout: float = 0.0) -> Tensor:
    """softmax(q k^T / sqrt(d)) v, as `F.scaled_dot_product_attention`.

    Torch's kernel multiplies small blocks, at 120 to 170 GFLOP/s in any dtype; here each head is a few large products.
    Only q, k and v are kept for the way back, which computes the probabilities again, as torch's does: at no time are
    there more than two N x N matrices.

    Args:
        qkv: (B, N, 3, h, d): queries, keys, values.
        dropout: probability of dropping a probability.

    Returns:
        (B, N, h, d).
    """
    # Autocast hands over what it made bfloat16; what it would still have to convert is left to it.
    is_ready = qkv.dtype == torch.bfloat16 or (qkv.dtype == torch.float32 and not torch.is_autocast_enabled("cpu"))
    is_suited = _MIN_TOKENS <= qkv.shape[1] <= _MAX_TOKENS and torch.get_num_threads() <= _MAX_THREADS
    if is_ready and is_suited and not dropout and _is_plain(qkv):
        context: Tensor = _SelfAttention.apply(qkv)  # type: ignore[no-untyped-call]
        return context
    query, key, value = qkv.permute(2, 0, 3, 1, 4)  # (B, N, 3, h, d) -> (B, h, N, d) each
    return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout).transpose(1, 2)


def _is_plain(*tensors: Tensor) -> bool:
    """Whether these are numbers, not part of a trace or a transform, in the memory of a CPU like those measured."""
    return (
        all(type(tensor) in (Tensor, nn.Parameter) and tensor.device.type == "cpu" for tensor in tensors)
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and not torch.compiler.is_compiling()
        and not torch._C._is_tracing()
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
    )


def _onednn(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """The float32 product a b (+ bias). `b` or its transpose is contiguous; where `a` is not, it is copied."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(a, b.t(), bias, "none", [], "")
    return product


class _Linear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        return _onednn(x, weight.contiguous().t(), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, (gradient,) = ctx.saved_tensors, gradients
        if torch.is_grad_enabled():  # a second derivative is wanted, which only torch's own operators have
            wanted = [tensor for tensor, needed in zip(inputs, ctx.needs_input_grad, strict=True) if needed]
            found = iter(torch.autograd.grad(F.linear(*inputs), wanted, gradient, create_graph=True))
            return tuple(next(found) if needed else None for needed in ctx.needs_input_grad)
        x, weight, _ = inputs
        rows, of_x, of_weight, of_bias = gradient.reshape(-1, len(weight)), None, None, None
        if ctx.needs_input_grad[0]:
            of_x = _onednn(gradient, weight.contiguous())
        if ctx.needs_input_grad[1]:
            of_weight = rows.t() @ x.reshape(len(rows), -1)  # oneDNN would have to turn one of them first: no gain
        if ctx.needs_input_grad[2]:
            of_bias = rows.sum(dim=0)
        return of_x, of_weight, of_bias


class _SelfAttention(Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor) -> Tensor:
        ctx.save_for_backward(qkv)
        B, N, _, h, d = qkv.shape
        context = qkv.new_empty(B, N, h, d)
        for clip, heads in _groups(qkv):
            query, key, value = _queries_keys_values(qkv[clip, :, :, heads])
            context[clip, :, heads] = _product(_probabilities(query, key), value).transpose(0, 1)
        return context

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_context: Tensor) -> Tensor:
        (qkv,) = ctx.saved_tensors
        of_qkv: Tensor = torch.empty_like(qkv)
        for clip, heads in _groups(qkv):
            query, key, value = _queries_keys_values(qkv[clip, :, :, heads])
            of_query, of_key, of_value = of_qkv[clip, :, :, heads].permute(1, 2, 0, 3)  # (G, N, d) each
            of_group = of_context[clip, :, heads].transpose(0, 1).contiguous()  # (G, N, d)
            probabilities = _probabilities(query, key)
            # (a^T p)^T, not p^T a: the N x N matrix is read in the order in which it lies.
            of_value.copy_(_product(of_group.mT, probabilities).mT)
            of_scores = _product(of_group, value.mT)  # (G, N, N): of the probabilities, and then of the scores
            torch.ops.aten._softmax_backward_data.out(
                of_scores, probabilities, -1, of_scores.dtype, grad_input=of_scores
            )
            torch.mul(_product(of_scores, key), _scale(qkv), out=of_query)
            of_key.copy_(_product(query.mT, of_scores).mT)
        return of_qkv


def _groups(qkv: Tensor) -> Iterator[tuple[int, slice]]:
    """The heads that are computed together: all of a clip where their probabilities fit the cache, or each alone."""
    B, N, _, h, _ = qkv.shape
    num_heads = h if N <= _FEW_TOKENS else 1
    for clip, head in product(range(B), range(0, h, num_heads)):
        yield clip, slice(head, head + num_heads)


def _queries_keys_values(qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, 3, G, d) -> q / sqrt(d), k and v, (G, N, d) each, every head in one piece."""
    query, key, value = qkv.permute(1, 2, 0, 3).contiguous()
    return query.mul_(_scale(qkv)), key, value


def _scale(qkv: Tensor) -> float:
    return float(qkv.shape[-1] ** -0.5)


def _probabilities(query: Tensor, key: Tensor) -> Tensor:
    """softmax(q k^T), (G, N, N), written over the scores."""
    scores = _product(query, key.mT)
    return torch.softmax(scores, dim=-1, out=scores)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """The products of each head, (G, N, M) and (G, M, K) to (G, N, K)."""
    if len(a) == 1 and a.dtype == torch.float32:
        return _onednn(a[0], b[0])[None]
    return a @ b
