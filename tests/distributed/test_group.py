"""With a process group the loss is the global batch's: the same value and parameter gradients as in one process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from covering import exhaustive_except
from started import start_ranks
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import ecgloss.functional as F

B, WIDTH = 9, 4
LOSSES: dict[str, Callable] = {
    "ntxent": lambda a, b, r, f, group: F.ntxent(a, b, group=group),
    "paper": lambda a, b, r, f, group: F.clef(a, b, r, f, group=group),
    "official": lambda a, b, r, f, group: F.clef(a, b, r, f, preset="official", reliability="revert", group=group),
}


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, nn.Module]:
    g = torch.Generator().manual_seed(3)
    x = torch.randn(2, B, 5, generator=g, dtype=torch.float64)
    risk, missing = torch.rand(B, generator=g), torch.rand(B, generator=g)
    torch.manual_seed(4)
    return x, risk, missing, nn.Linear(5, WIDTH, dtype=torch.float64)


def run_rank(rank: int, ranks: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=ranks)
    x, risk, missing, encoder = inputs()
    model = DistributedDataParallel(encoder)
    bounds = torch.linspace(0, B, ranks + 1).int().tolist()  # ranks hold different numbers of rows
    mine = slice(bounds[rank], bounds[rank + 1])
    results = {}
    for name, loss in LOSSES.items():
        model.zero_grad()
        z1, z2 = model(torch.cat([x[0, mine], x[1, mine]])).chunk(2)
        value = loss(z1, z2, risk[mine], missing[mine], dist.group.WORLD)
        value.backward()
        results[name] = (value.detach(), encoder.weight.grad.clone(), encoder.bias.grad.clone())
    torch.save(results, os.path.join(folder, f"{rank}.pt"))
    dist.barrier()
    os._exit(0)  # the threads of gloo and DDP race with the interpreter's shutdown, rarely, and abort the process


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.parametrize("ranks", exhaustive_except([2], [1, 2, 3]))
def test_loss_and_parameter_gradients_equal_the_single_process(ranks):
    x, risk, missing, encoder = inputs()
    with tempfile.TemporaryDirectory() as folder:
        start_ranks(run_rank, (ranks, folder), ranks)
        per_rank = [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(ranks)]
    for name, loss in LOSSES.items():
        encoder.zero_grad()
        value = loss(encoder(x[0]), encoder(x[1]), risk, missing, None)
        value.backward()
        for results in per_rank:
            expected = (value.detach(), encoder.weight.grad, encoder.bias.grad)
            for mine, single in zip(results[name], expected):
                torch.testing.assert_close(mine, single, rtol=1e-9, atol=1e-12)  # fp64, other order of sums
