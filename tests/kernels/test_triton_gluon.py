"""The experimental forward in Gluon gives what the Triton kernel gives, on a Hopper GPU."""

from __future__ import annotations

import pytest
import torch
from backends import needs_triton

import ecgloss.functional as F

HOPPER = torch.cuda.is_available() and torch.cuda.get_device_capability()[0] == 9
pytestmark = [needs_triton, pytest.mark.gpu, pytest.mark.skipif(not HOPPER, reason="needs a Hopper GPU")]


@pytest.mark.parametrize("loss", ["ntxent", "paper", "official"])
@pytest.mark.parametrize(("samples", "width"), [(4096, 256), (531, 128), (64, 64)])
def test_the_gluon_forward_is_the_triton_forward(loss, samples, width, monkeypatch):
    z1, z2 = (torch.randn(samples, width, device="cuda", dtype=torch.bfloat16, requires_grad=True) for _ in range(2))
    risk = torch.rand(samples, device="cuda")
    found = []
    for gluon in ("0", "1"):
        monkeypatch.setenv("ECGLOSS_GLUON", gluon)
        if loss == "ntxent":
            value = F.ntxent(z1, z2, backend="triton")
        else:
            value = F.clef(z1, z2, risk, risk, preset=loss, backend="triton")
        found.append((value, *torch.autograd.grad(value, (z1, z2))))
    for triton, gluon in zip(*found):
        torch.testing.assert_close(triton.float(), gluon.float(), rtol=1e-3, atol=1e-6)
