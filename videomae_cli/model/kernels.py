"""Where a CPU has a faster way than the one torch takes by itself: the same formulas, by other operators of torch.

Each function looks at the tensors that it gets, and is torch's own function wherever the other way does not apply.

Letters: B batch, N tokens, I and O widths in and out, h heads, d width of a head.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function, forward_ad
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_MIN_MULTIPLICATIONS = 2**24  # of a matrix product; smaller ones cost less than the calls around them
_MIN_TOKENS = 512  # fewer are no faster than in torch's kernel
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


def _product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """The product a b (+ bias) by oneDNN. `b` or its transpose is contiguous; of `a`, what is not costs a copy."""
    if a.dtype == torch.float32:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(a, b.t(), bias, "none", [], "")
        return product
    return a @ b


class _Linear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        return _product(x, weight.contiguous().t(), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, (gradient,) = ctx.saved_tensors, gradients
        if torch.is_grad_enabled():  # a second derivative is wanted, which only torch's own operators have
            wanted = [tensor for tensor, needed in zip(inputs, ctx.needs_input_grad, strict=True) if needed]
            found = iter(torch.autograd.grad(F.linear(*inputs), wanted, gradient, create_graph=True))
            return tuple(next(found) if needed else None for needed in ctx.needs_input_grad)
        (x, weight, _), gradient = inputs, gradient.contiguous()
        rows, of_x, of_weight, of_bias = gradient.view(-1, len(weight)), None, None, None
        if ctx.needs_input_grad[0]:
            of_x = _product(gradient, weight.contiguous())
        if ctx.needs_input_grad[1]:
            of_weight = _of_weight(rows, x.reshape(len(rows), -1))
        if ctx.needs_input_grad[2]:
            of_bias = rows.sum(dim=0)
        return of_x, of_weight, of_bias


def _of_weight(gradient: Tensor, x: Tensor) -> Tensor:
    """g^T x, (O, I). One of the two has to be turned for oneDNN, and that is the narrower."""
    if gradient.shape[1] <= x.shape[1]:
        return _product(gradient.t(), x)
    return _product(x.t(), gradient).t()


class _SelfAttention(Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor) -> Tensor:
        ctx.save_for_backward(qkv)
        B, N, _, h, d = qkv.shape
        context = qkv.new_empty(B, N, h, d)
        for clip, head in product(range(B), range(h)):
            query, key, value = _one_head(qkv[clip, :, :, head])
            context[clip, :, head] = _product(_probabilities(query, key), value)
        return context

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_context: Tensor) -> Tensor:
        (qkv,) = ctx.saved_tensors
        of_qkv: Tensor = torch.empty_like(qkv)
        for clip, head in product(range(qkv.shape[0]), range(qkv.shape[3])):
            query, key, value = _one_head(qkv[clip, :, :, head])
            of_query, of_key, of_value = of_qkv[clip, :, :, head].unbind(1)  # (N, d) each
            of_head = of_context[clip, :, head].contiguous()  # (N, d)
            probabilities = _probabilities(query, key)
            # (a^T p)^T, not p^T a: the N x N matrix is read in the order in which it lies.
            of_value.copy_(_product(of_head.t(), probabilities).t())
            of_scores = _product(of_head, value.t())  # (N, N): of the probabilities, and then of the scores
            torch.ops.aten._softmax_backward_data.out(
                of_scores, probabilities, -1, of_scores.dtype, grad_input=of_scores
            )
            torch.mul(_product(of_scores, key), _scale(key), out=of_query)
            of_key.copy_(_product(query.t(), of_scores).t())
        return of_qkv


def _one_head(qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, 3, d) -> q / sqrt(d), k and v, (N, d) each in one piece."""
    query, key, value = qkv.unbind(1)
    return query * _scale(query), key.contiguous(), value.contiguous()


def _scale(query: Tensor) -> float:
    return float(query.shape[-1] ** -0.5)


def _probabilities(query: Tensor, key: Tensor) -> Tensor:
    """softmax(q k^T), (N, N), written over the scores."""
    scores = _product(query, key.t())
    return torch.softmax(scores, dim=-1, out=scores)
