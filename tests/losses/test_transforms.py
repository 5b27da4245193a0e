"""Every loss on every backend under torch's transforms: the right value, or one clear error; never a wrong number."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.backends import BACKENDS, USABLE
from tests.covering import exhaustive_except, pairwise
from tests.loss_cases import CASES
from tests.losses.transform_cases import COMPILERS, TRANSFORMS, Cell, Rough, Transform


@pairwise(transform=TRANSFORMS, loss=CASES, backend=BACKENDS)
def test_a_transform_gives_the_right_value_or_a_clear_error(transform, loss, backend):
    check(TRANSFORMS[transform], loss, backend)


# Every compiler with every loss; backends take turns.
COMBINATIONS = [
    (transform, loss, USABLE[(i + j) % len(USABLE)])
    for (i, transform), (j, loss) in itertools.product(enumerate(COMPILERS), enumerate(CASES))
]


@pytest.mark.slow
@pytest.mark.parametrize(("transform", "loss", "backend"), exhaustive_except(COMBINATIONS[1::17], COMBINATIONS))
def test_a_compiler_gives_the_right_value_for_other_batches_too(transform, loss, backend):
    check(COMPILERS[transform], loss, backend)


def check(transform: Transform, loss: str, backend: str) -> None:
    cell = Cell(loss, backend)
    if transform.raises(loss, backend):
        with pytest.raises((RuntimeError, ValueError), match=transform.error):
            list(transform.check(cell))
        return
    for got, right in transform.check(cell):
        compare(got, right)


def compare(got: Any, right: Any) -> None:
    """Equal to rounding; a second derivative to that of a central difference."""
    if isinstance(got, Rough):
        torch.testing.assert_close(got.value, right, rtol=3e-2, atol=3e-2)
    elif isinstance(got, Tensor):
        close = {"rtol": 1e-5, "atol": 1e-7} if got.dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-5}
        torch.testing.assert_close(got, right, check_dtype=False, **close)
    else:
        assert got == right
