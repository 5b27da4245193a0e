"""No result depends on memory the kernels were not given: not on what lies behind inputs, nor on what buffers held."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from backends import needs_cpp
from poison import PLACES, inside, poison_new_tensors
from rule_cases import RULES, Problem, evaluate, problem

import ecgloss.functional as F

pytestmark = needs_cpp
TESTS = Path(__file__).resolve().parent.parent
DTYPES = [torch.float32, torch.float64, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rule", RULES)
def test_every_entry_of_a_new_buffer_is_written_before_it_is_read(rule, dtype, monkeypatch):
    problems = [problem(rule, "random", n, d, 0.07).rounded(dtype) for n, d in ((6, 7), (50, 3), (126, 23))]
    expected = [evaluate(p, "cpp") for p in problems]
    filled = poison_new_tensors(monkeypatch)
    for p, clean in zip(problems, expected):
        assert evaluate(p, "cpp").same_bits(clean)
    assert sum(filled) > 126 * 23, "the op must make its buffers with new_empty, or this test proves nothing"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rule", ["uniform", "clef official", "features or labels", "risk queue, mean"])
def test_embeddings_that_are_part_of_a_larger_tensor_are_read_alone(rule, dtype, place):
    p = problem(rule, "random", 50, 13, 0.07).rounded(dtype)
    part = Problem(p.setting, inside(p.q, place), None if p.k is None else inside(p.k, place), p.tau)
    assert evaluate(part, "cpp").same_bits(evaluate(p, "cpp"))


def test_views_sliced_from_one_batch_are_read_alone(rng):
    """As a data loader's stacked views come: (B, 2, D)."""
    batch = torch.randn(33, 2, 9, generator=rng)
    risk = torch.rand(33, generator=rng)
    parts = [batch[:, view].requires_grad_() for view in (0, 1)]
    wholes = [batch[:, view].contiguous().requires_grad_() for view in (0, 1)]
    losses = [F.clef(*views, risk, preset="official", backend="cpp") for views in (parts, wholes)]
    assert torch.equal(*losses)
    for mine, expected in zip(torch.autograd.grad(losses[0], parts), torch.autograd.grad(losses[1], wholes)):
        assert torch.equal(mine, expected)


DIGEST = """
import hashlib
import torch
from rule_cases import RULES, evaluate, problem

torch.set_num_threads(2)
digest = hashlib.sha256()
for rule in RULES:
    for n, d, dtype in ((6, 7, torch.float32), (126, 23, torch.float32), (514, 5, torch.float64)):
        for x in evaluate(problem(rule, "random", n, d, 0.07).rounded(dtype), "cpp").named().values():
            digest.update(x.contiguous().numpy().tobytes())
print(digest.hexdigest())
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="MALLOC_PERTURB_ is glibc's")
def test_scratch_memory_is_written_before_it_is_read():
    """glibc fills what malloc gives and free takes with a pattern."""

    def digest(**environment: str) -> str:
        path = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, "-c", DIGEST],
            env=os.environ | {"PYTHONPATH": path} | environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        ).stdout

    assert digest(MALLOC_PERTURB_="165") == digest(MALLOC_PERTURB_="0")
