"""Which variants are right: value and gradient against the fp64 definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import torch
from cases import Case, inputs
from torch import Tensor
from variants import Data, Loss, backend

LARGEST_N = 1024  # the fp64 definition is quick up to here


Tolerance = tuple[float, float]  # largest relative errors, of the value and in the norm of the gradient
SINGLE = (1e-4, 1e-3)  # fp32 sums over 1,024 columns stay well below
HALF = (2e-3, 2e-2)  # products of 8 or 11 bits summed in fp32; the gradient itself is rounded to bf16, 2^-9
HALF_PEERS = (5e-2, 2e-1)  # similarities rounded to bf16, by up to 0.004 of 1 / 0.07 in the exponent: finds wrong code


def tolerance(dtype: str, peer: bool) -> Tolerance:
    """What is accepted from embeddings of a dtype, with the precision of fp32 products that is set."""
    if dtype == "bfloat16":
        return HALF_PEERS if peer else HALF
    return SINGLE if torch.get_float32_matmul_precision() == "highest" else HALF


def small(case: Case) -> Case:
    """The case at the size it is checked at: its width, and rows as far as the definition is quick."""
    return replace(case, n=min(case.n, LARGEST_N))


@lru_cache(maxsize=1)
def gate(case: Case, device: str) -> Callable[..., None]:
    """A check of the variants of a case, which share its inputs and the definition's values: ``check(loss, peer)``."""
    data = inputs(small(case), device)
    a, b = (z.detach().double().requires_grad_() for z in data[:2])
    true = value_and_gradient(backend(case.loss, "reference"), (a, b, data[2]))

    def check(loss: Loss, peer: bool = False) -> None:
        assert_close(value_and_gradient(loss, data), true, tolerance(case.dtype, peer))

    return check


def check_at_full_size(case: Case, loss: Loss, data: Data) -> None:
    """As the gate, but beside ``chunked``, whose arithmetic is fp32: the definition takes too long."""
    true = value_and_gradient(backend(case.loss, "chunked"), data)
    assert_close(value_and_gradient(loss, data), true, tolerance(case.dtype, peer=False))


def assert_close(mine: tuple[Tensor, Tensor], true: tuple[Tensor, Tensor], accepted: Tolerance) -> None:
    """Raise ``ArithmeticError`` where value or gradient are wrong by more than is accepted."""
    value, gradient = (float((own - right).norm() / right.norm()) for own, right in zip(mine, true))
    if not (value < accepted[0] and gradient < accepted[1]):
        raise ArithmeticError(f"wrong by {value:.1e} in value and {gradient:.1e} in gradient")


def value_and_gradient(loss: Loss, data: Data) -> tuple[Tensor, Tensor]:
    """Loss and gradient of both views, in fp64."""
    value = loss(*data)
    return value.detach().double(), torch.cat(torch.autograd.grad(value, data[:2])).double()
