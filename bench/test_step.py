"""A training step of an encoder with CLEF, and which part of it the loss is."""

from __future__ import annotations

import statistics
from typing import Any

import pytest
import torch
from plain import clef_paper
from timing import interleaved

import ecgloss
import ecgloss.functional as F


@pytest.mark.parametrize("loss", ["ecgloss", "plain"])
@pytest.mark.parametrize("samples", [64, 512], ids=["N128", "N1024"])
@pytest.mark.benchmark(group="training step")
def test_training_step(samples: int, loss: str, device: str, benchmark: Any) -> None:
    g = torch.Generator(device).manual_seed(7)
    views = [torch.randn(samples, 1, 500, generator=g, device=device) for _ in range(2)]  # 5 s at 100 Hz
    risk = torch.rand(samples, generator=g, device=device)
    encoder = ecgloss.models.resnext1d("small", in_channels=1).to(device)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-4)
    criterion = F.clef if loss == "ecgloss" else clef_paper
    z = [encoder(view).detach().requires_grad_() for view in views]

    def step() -> None:
        optimizer.zero_grad()
        criterion(encoder(views[0]), encoder(views[1]), risk).backward()
        optimizer.step()
        if device == "cuda":  # pytest-benchmark's default clock is the host's
            torch.cuda.synchronize()

    def loss_alone() -> None:
        torch.autograd.grad(criterion(z[0], z[1], risk), z)

    step()
    loss_alone()
    whole, part = interleaved([step, loss_alone], device)
    shares = (100 * own / everything for own, everything in zip(part, whole))
    benchmark.extra_info["% of the step in the loss"] = round(statistics.median(shares), 1)
    benchmark.pedantic(step, rounds=len(whole))
