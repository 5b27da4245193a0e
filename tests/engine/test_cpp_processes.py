"""The C++ kernels where training code puts them: data loader workers, forked processes, several Python threads."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from backends import needs_cpp
from rule_cases import evaluate, problem
from torch.utils.data import DataLoader

import ecgloss.functional as F

pytestmark = needs_cpp
REPOSITORY = Path(__file__).resolve().parent.parent.parent
PATIENCE = 300  # seconds until a hang becomes a failure: starting Python and torch takes a few


@pytest.fixture(autouse=True)
def two_threads(set_threads):
    set_threads(2)


def views(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(300, 16, generator=g), torch.randn(300, 16, generator=g), torch.rand(300, generator=g)


def collate(seeds: list[int]) -> torch.Tensor:
    """Losses computed where the batch is put together."""
    return torch.stack([F.clef(*views(seed), preset="official", backend="cpp") for seed in seeds])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers that inherit the parent's threads need fork")
def test_data_loader_workers_compute_the_same_losses():
    seeds = list(range(6))
    expected = collate(seeds)  # the parent has used the kernels, and their threads, before it forks
    context = multiprocessing.get_context("fork")
    loader = DataLoader(
        seeds, batch_size=2, num_workers=2, collate_fn=collate, timeout=PATIENCE, multiprocessing_context=context
    )
    assert torch.equal(torch.cat(list(loader)), expected)


FORK = """
import os
import sys
import torch
import ecgloss.functional as F

torch.set_num_threads(2)
g = torch.Generator().manual_seed(1)
z1, z2 = (torch.randn(600, 8, generator=g).requires_grad_() for _ in range(2))

def loss_and_gradient():
    loss = F.ntxent(z1, z2, backend="cpp")
    return [loss.detach(), *torch.autograd.grad(loss, (z1, z2))]

expected = loss_and_gradient()
child = os.fork()
if child == 0:
    torch.set_num_threads(int(sys.argv[1]))
    same = all(torch.equal(a, b) for a, b in zip(loss_and_gradient(), expected))
    os._exit(0 if same else 1)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0, "the child computed something else"
assert all(torch.equal(a, b) for a, b in zip(loss_and_gradient(), expected)), "the parent did, after the fork"
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_process_does_not_wait_for_threads_it_has_not(threads):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}
    subprocess.run([sys.executable, "-c", FORK, str(threads)], env=environment, check=True, timeout=PATIENCE)


def test_python_threads_do_not_disturb_each_other():
    """As with one model replica per thread; the kernels release the interpreter's lock."""
    rules = ["uniform", "clef official", "labels", "uniform, matched"] * 3
    problems = [problem(rule, "random", 514, 8, 0.07, seed).rounded(torch.float32) for seed, rule in enumerate(rules)]
    expected = [evaluate(p, "cpp") for p in problems]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            results = list(pool.map(lambda p: evaluate(p, "cpp"), problems, timeout=PATIENCE))
            assert all(mine.same_bits(theirs) for mine, theirs in zip(results, expected))
