"""What is measured on a GPU, in the order of its value, which variants are worth the time, and the form of a result."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from cases import Case, Measurement
from memory import free_bytes
from variants import COMPILED, LIGHTLY, PLAIN

LOSSES = ("clef official", "ntxent", "infonce", "clef paper")  # the most telling first, should time run out
SIZES = (128, 512, 2048, 8192, 32768, 131072)
BESIDE_COMPILED = 4096  # one more where torch.compile is strong
MAIN_WIDTH, WIDTHS = 256, (128, 512, 1024)
DRY_CASES = [Case(loss, 64, 16, dtype) for dtype in ("bfloat16", "float32") for loss in LOSSES]

MATERIALISED = (PLAIN, COMPILED, LIGHTLY)
MATRICES = 12  # N x N in fp32: how many a plain loss holds at its peak, with its backward
COMPILED_LARGEST_N = 32768
COMPILING_SECONDS = 30.0  # what compiling a case may take


def _cases() -> list[Case]:
    """bf16 before fp32, the main width before the others; those before N, so that the slow ones come last."""
    main = [Case(loss, n, MAIN_WIDTH, "bfloat16") for loss in LOSSES for n in sorted((*SIZES, BESIDE_COMPILED))]
    groups = [("bfloat16", WIDTHS), ("float32", (MAIN_WIDTH,)), ("float32", WIDTHS)]
    rest = [Case(loss, n, d, dtype) for dtype, widths in groups for n in SIZES for d in widths for loss in LOSSES]
    return main + rest


GPU_CASES = _cases()


@dataclass(frozen=True)
class GpuMeasurement(Measurement):
    """One variant of one case on a GPU.

    Attributes:
        graph_milliseconds: Median of the replays of a CUDA graph of the same; None where there is none.
        graph_quartiles: Lower and upper quartile of them.
        matrix_share: Three products 2 N^2 D over the time, as a fraction of the rate of a large matrix product of the
            same dtype; None for variants that are not ecgloss's.
    """

    graph_milliseconds: float | None = None
    graph_quartiles: tuple[float, float] | None = None
    matrix_share: float | None = None


@dataclass(frozen=True)
class Note:
    """Something that was not measured, and why; of the whole case where there is no variant."""

    case: Case
    variant: str
    reason: str


@dataclass(frozen=True)
class Budget:
    """Seconds a run may take."""

    seconds: float
    begin: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """What remains; negative when overspent."""
        return self.seconds - (time.monotonic() - self.begin)


def useful_flop(case: Case) -> int:
    """Three products: the similarities, again in the backward, and the gradient (InfoNCE: one, and two gradients)."""
    return 3 * (2 * case.n**2 * case.d)


def reason_to_skip(case: Case, variant: str, device: str, budget: Budget) -> str | None:
    """Why a variant is not worth trying, or is not going to fit; None where it should be tried."""
    if budget.left < 0:
        return "no time left"
    if variant in MATERIALISED and device == "cuda":
        needed = MATRICES * case.n**2 * 4
        if needed > free_bytes():
            return f"N x N does not fit (about {needed / 2**30:,.0f} GiB)"
    if variant != COMPILED:
        return None
    if case.d != MAIN_WIDTH or case.n > COMPILED_LARGEST_N:
        return f"compiled at D = {MAIN_WIDTH} and N <= {COMPILED_LARGEST_N:,} only"
    return "no time left to compile" if budget.left < COMPILING_SECONDS else None
