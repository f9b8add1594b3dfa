"""The CPU's faster ways compute what torch's own functions compute, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from videomae_cli.model import kernels

on_avx512 = pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() != "AVX512", reason="they are for AVX-512")


def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))
    return values.to(dtype).requires_grad_()


def backward_name(y: Tensor) -> str:
    """Whose backward pass will run."""
    assert y.grad_fn is not None
    return y.grad_fn.name()


def attention_in_float64(qkv: Tensor) -> Tensor:
    query, key, value = qkv.double().permute(2, 0, 3, 1, 4)
    return (query @ key.mT * query.shape[-1] ** -0.5).softmax(-1).matmul(value).transpose(1, 2)


@on_avx512
@pytest.mark.parametrize("widths", [(96, 256), (256, 96)], ids=str)
@pytest.mark.parametrize("has_bias", [True, False])
def test_linear_and_its_gradients(widths: tuple[int, int], has_bias: bool) -> None:
    num_in, num_out = widths
    inputs = [numbers(2, 400, num_in), numbers(num_out, num_in)] + [numbers(num_out)] * has_bias
    y = kernels.linear(*inputs)
    assert "_Linear" in backward_name(y)
    exact = F.linear(*(tensor.double() for tensor in inputs))
    torch.testing.assert_close(y.double(), exact, rtol=1e-5, atol=1e-4)
    of_y = torch.randn_like(y)
    found = torch.autograd.grad(y, inputs, of_y)
    expected = torch.autograd.grad(exact, inputs, of_y.double())
    for gradient, exact_gradient in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, exact_gradient, rtol=1e-4, atol=1e-3)


@on_avx512
@pytest.mark.parametrize(
    ("dtype", "sharpness", "tolerance"),
    [
        (torch.float32, 0, 1e-5),
        (torch.float32, 1, 1e-5),
        (torch.float32, 100, 1e-4),  # scores of several hundred: all weight on one key
        (torch.bfloat16, 0, 2e-2),
        (torch.bfloat16, 1, 2e-2),
    ],
    ids=str,
)
def test_attention_and_its_gradient(dtype: torch.dtype, sharpness: int, tolerance: float) -> None:
    qkv = (numbers(2, 600, 3, 2, 16) * torch.tensor([sharpness, 1, 1]).view(3, 1, 1)).to(dtype).detach()
    qkv.requires_grad_()
    context = kernels.self_attention(qkv)
    assert "_SelfAttention" in backward_name(context)
    exact = attention_in_float64(qkv)
    of_context = torch.randn_like(exact)
    (found,) = torch.autograd.grad(context, qkv, of_context.to(dtype))
    (expected,) = torch.autograd.grad(exact, qkv, of_context)
    for tensor, right in ((context, exact), (found, expected)):
        assert (tensor - right).abs().max() <= tolerance * right.abs().max()


@on_avx512
def test_second_derivatives_of_linear() -> None:
    x, weight = numbers(400, 256), numbers(256, 256)
    (first,) = torch.autograd.grad(kernels.linear(x, weight).square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), weight)
    (first,) = torch.autograd.grad(F.linear(x, weight).square().sum(), x, create_graph=True)
    (expected,) = torch.autograd.grad(first.sum(), weight)
    torch.testing.assert_close(second, expected, rtol=1e-4, atol=1e-2)


def test_whatever_else_is_torchs_own() -> None:
    x, weight = numbers(2, 400, 256), numbers(256, 256)
    assert "_Linear" not in backward_name(kernels.linear(x[:, :2], weight))  # too little to gain
    assert "_Linear" not in backward_name(kernels.linear(x.double(), weight.double()))
    with torch.autocast("cpu", torch.bfloat16):
        assert kernels.linear(x, weight).dtype == torch.bfloat16
    assert kernels.linear(x.to("meta"), weight.to("meta")).shape == (2, 400, 256)
    qkv = numbers(1, 600, 3, 2, 8)
    assert "_SelfAttention" not in backward_name(kernels.self_attention(qkv[:, :100]))
    assert "_SelfAttention" not in backward_name(kernels.self_attention(qkv, dropout=0.5))
    assert "_SelfAttention" not in backward_name(kernels.self_attention(qkv.double()))
    assert kernels.self_attention(qkv.to("meta")).shape == (1, 600, 2, 8)


def test_transforms_and_compilers_see_torchs_own() -> None:
    x, weight = numbers(3, 400, 256).detach(), numbers(256, 256).detach()
    each = torch.func.vmap(kernels.linear, in_dims=(0, None))(x, weight)
    torch.testing.assert_close(each, F.linear(x, weight), rtol=1e-5, atol=1e-4)
    _, tangent = torch.func.jvp(lambda x: kernels.linear(x, weight), (x,), (x,))
    torch.testing.assert_close(tangent, F.linear(x, weight), rtol=1e-5, atol=1e-4)
