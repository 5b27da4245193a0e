"""Encoders under DistributedDataParallel and FSDP2 around every loss: gradients are the mean of those of the ranks."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from tests.loss_cases import CASES, side

B, D, RANKS = 6, 4, 2


def batch(rank: int) -> Tensor:
    return torch.randn(2 * B, 5, generator=torch.Generator().manual_seed(rank), dtype=torch.float64)


def encoder() -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, D)).double()


def gradients(model: nn.Module, parameters: list[nn.Parameter], loss: str, rank: int) -> list[Tensor]:
    known = side(B, D, torch.Generator().manual_seed(3))
    for parameter in parameters:
        parameter.grad = None
    z1, z2 = model(batch(rank)).chunk(2)
    CASES[loss].call(z1, z2, known).backward()
    grads = [parameter.grad for parameter in parameters]
    return [g.full_tensor() if isinstance(g, DTensor) else g.clone() for g in grads]


def run_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=RANKS)
    plain, sharded = encoder(), encoder()
    parallel = DistributedDataParallel(plain)
    fully_shard(sharded)
    results = {}
    for loss in CASES:
        for name, model, owner in (("DDP", parallel, plain), ("FSDP2", sharded, sharded)):
            results[f"{name}, {loss}"] = gradients(model, list(owner.parameters()), loss, rank)
    torch.save(results, Path(folder) / f"{rank}.pt")
    dist.barrier()
    os._exit(0)  # the threads of gloo and DDP race with the interpreter's shutdown, rarely, and abort the process


@pytest.mark.dist
@pytest.mark.exhaustive
def test_gradients_of_an_encoder_are_the_mean_over_ranks():
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(run_rank, (folder,), nprocs=RANKS)
        ranks = [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(RANKS)]
    model = encoder()
    for loss in CASES:
        single = [gradients(model, list(model.parameters()), loss, rank) for rank in range(RANKS)]
        expected = [torch.stack(parts).mean(0) for parts in zip(*single)]
        for name in ("DDP", "FSDP2"):
            for found in ranks:
                torch.testing.assert_close(
                    found[f"{name}, {loss}"], expected, msg=lambda m, w=(name, loss): f"{w}: {m}"
                )
