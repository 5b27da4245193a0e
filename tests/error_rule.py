"""The error rule: against the fp64 definition, at most twice the error of plain materialised code in the same dtype."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from rule_cases import Problem, Result, evaluate, problem
from torch import Tensor

# Covers what is left when the plain code happens to be exact: a few roundings of the stored dtype and of fp32.
FLOOR = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
SINGLE = FLOOR[torch.float32]  # of the loss and the statistics, which are never stored in half precision


class Quantity(NamedTuple):
    name: str
    mine: Tensor
    plain: Tensor
    true: Tensor
    floor: float


def assert_as_accurate_as_plain_code(
    rule: str,
    kind: str,
    n: int,
    d: int,
    tau: float,
    dtype: torch.dtype = torch.float32,
    draws: int = 2,
    strict: bool = False,
    backend: str = "cpp",
    device: str = "cpu",
) -> None:
    """Errors are norms over all entries and draws, so that no single lucky rounding of the plain code decides.

    ``strict``: also for the gradient of the temperature, which wants some draws.
    """
    sums: dict[str, Tensor] = {}
    for seed in range(draws):
        p = problem(rule, kind, n, d, tau, seed).rounded(dtype)
        for x in quantities(p, evaluate(p, backend, device), evaluate(p, "reference", device), dtype, strict):
            known = torch.isfinite(x.true)
            assert torch.equal(known, torch.isfinite(x.mine)), f"{x.name}: NaN or inf where the definition has none"
            errors = [(y[known].double() - x.true[known]).norm().item() for y in (x.mine, x.plain)]
            squares = torch.tensor([*errors, x.floor], dtype=torch.float64).square()
            sums[x.name] = sums.get(x.name, torch.zeros(3, dtype=torch.float64)) + squares
    for name, (mine, plain, floor) in ((name, squares.sqrt().tolist()) for name, squares in sums.items()):
        assert mine <= 2 * plain + floor, f"{name}: error {mine:.2e}, plain code's {plain:.2e}, floor {floor:.1e}"


def temperature_floor(p: Problem, eps: float) -> float:
    """One rounding of S in every row: dL/dtau is a single number, the mean of N sums of g S / tau^2 that cancel."""
    return 2 * eps / (p.tau**2 * len(p.q) ** 0.5)


def quantities(p: Problem, mine: Result, plain: Result, dtype: torch.dtype, strict: bool) -> Iterator[Quantity]:
    """Everything a backend computes for a problem, from the backend, from plain code and from the definition."""
    exact = p.rounded(torch.float64)
    true = evaluate(exact, "reference")
    assert mine.rows.dtype == torch.float32
    for name in ("loss", "rows", "tau_gradient"):
        values = [getattr(result, name) for result in (mine, plain, true)]
        finite = values[2][torch.isfinite(values[2])]
        floor = SINGLE * finite.norm().item()
        if name == "loss" and p.setting.rule.layout.positive is None:
            # Terms of either sign, which may cancel; a log-sum-exp is a rounding of its sum away, however small it is.
            terms = 1 + true.rows[torch.isfinite(true.rows)].abs()
            floor += torch.finfo(torch.float32).eps / 2 * terms.mean().item()
        elif (
            name == "loss"
        ):  # small losses are e^(difference of numbers of size S / tau): half a rounding of S over tau
            floor *= 1 + 2**-24 / p.tau / SINGLE
        if name == "tau_gradient" and not strict:
            floor += temperature_floor(p, torch.finfo(torch.float32).eps)
        yield Quantity(name, *values, floor)
    for name, z in (("q_gradient", exact.q), ("k_gradient", exact.k)):
        if z is None:
            continue
        values = [getattr(result, name) for result in (mine, plain, true)]
        assert values[0].dtype == dtype
        limit = torch.finfo(dtype).max
        values[2] = values[2].clamp(-limit, limit)
        norms = z.norm(dim=1)
        for part, rows in (("", norms > 0), (" of zero rows", norms == 0)):  # 1e12 large: they would hide the rest
            chosen = [x[rows] for x in values]
            size = chosen[2].norm()
            if part:  # whose S is exactly 0 where it is not counted from a maximum: half a rounding of S over tau
                size = size * (1 + 2**-24 / p.tau / SINGLE)
            if z.shape[1] == 1:  # all of the gradient is radial and cancels: what is left is rounding of its parts
                size = size + (1 / (p.tau * len(z) * norms[rows].clamp(min=1e-12))).norm()
            yield Quantity(name + part, *chosen, FLOOR[dtype] * size.item())
