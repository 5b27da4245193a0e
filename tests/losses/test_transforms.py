"""Every loss on every backend under torch's transforms: the right value, or one clear error; never a wrong number."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import ecgloss
import ecgloss.functional as F
from tests.backends import BACKENDS, USABLE
from tests.covering import each_value, exhaustive_except
from tests.loss_cases import CASES
from tests.losses.transform_cases import COMPILERS, TRANSFORMS, Cell, Rough, Transform, table


@each_value(transform=TRANSFORMS, loss=CASES, backend=BACKENDS)
def test_a_transform_gives_the_right_value_or_a_clear_error(transform, loss, backend):
    check(TRANSFORMS[transform], loss, backend)


REPOSITORY = Path(__file__).resolve().parents[2]
# torch.compile with every loss, torch.export with every third; backends take turns.
COMBINATIONS = [
    (transform, loss, USABLE[(i + j + j // 3) % len(USABLE)])
    for (i, transform), (j, loss) in itertools.product(enumerate(COMPILERS), enumerate(CASES))
    if transform == "compile" or (i + j) % 3 == 0
]


@pytest.mark.slow
@pytest.mark.parametrize(("transform", "loss", "backend"), exhaustive_except(COMBINATIONS[1::9], COMBINATIONS))
def test_a_compiler_gives_the_right_value_for_other_batches_too(transform, loss, backend):
    check(COMPILERS[transform], loss, backend)


def test_the_documentation_shows_this_table():
    """`python -m tests.losses.transform_cases` prints it."""
    assert table() in (REPOSITORY / "docs" / "losses.md").read_text(encoding="utf-8")


def test_a_queue_is_not_written_twice_by_a_checkpoint():
    """The second pass would compare with the batch's own keys: wrong gradients."""
    for use_reentrant in (False, True):
        criterion, (q, k) = ecgloss.MoCoLoss(width=4, size=8), torch.randn(2, 3, 4).requires_grad_()
        loss = checkpoint(criterion, q, k.detach(), use_reentrant=use_reentrant)
        with pytest.raises(RuntimeError, match="checkpoint the encoder alone and call the loss outside"):
            loss.backward()
        assert criterion.position == 3


def test_a_queue_that_is_overwritten_is_noticed_by_the_second_derivative_alone():
    q, queue = torch.randn(3, 4, requires_grad=True), torch.randn(5, 4)
    for create_graph in (False, True):
        loss = F.moco(q, q.detach(), queue)
        queue.add_(1)
        if create_graph:
            with pytest.raises(RuntimeError, match="second derivative needs it as it was"):
                torch.autograd.grad(loss, q, create_graph=True)
        else:
            torch.autograd.grad(loss, q)


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
