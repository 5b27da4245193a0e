"""What is measured on a GPU, the most telling first, which variants are worth the time, and the form of a result."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from cases import INFONCE, Case, Measurement
from memory import free_bytes
from variants import COMPILED, LIGHTLY, PEERS, PLAIN

FIRST = ("clef official", "ntxent")
LOSSES = (*FIRST, INFONCE, "clef paper")
SIZES = (128, 512, 2048, 8192, 32768, 131072)
BESIDE_COMPILED = 4096  # one more where torch.compile is strong
MAIN_WIDTH, WIDTHS = 256, (128, 512, 1024)
HALF, SINGLE = "bfloat16", "float32"
DRY_CASES = [Case(loss, 64, 16, dtype) for dtype in (HALF, SINGLE) for loss in LOSSES]

MATERIALISED = (PLAIN, COMPILED, LIGHTLY)
MATRICES = 12  # N x N in fp32: how many a plain loss holds at its peak, with its backward
COMPILED_N = {HALF: (128, 512, 2048, BESIDE_COMPILED, 8192, 32768), SINGLE: (512, 2048, 8192)}
COMPILED_N_OF_OTHERS = (512, 2048, BESIDE_COMPILED)  # of losses that do not come first
COMPILING_SECONDS = 30.0  # what compiling a case may take
ALL_VARIANTS = "all variants"  # of a note on a whole case


def _cases() -> list[Case]:
    """Half precision at the main width; then all of the first losses before the rest of the others.

    Losses come one after another at the main width, sizes at the others, so that the slow ones come last.
    """
    main = [Case(loss, n, MAIN_WIDTH, HALF) for loss in LOSSES for n in sorted((*SIZES, BESIDE_COMPILED))]
    others = tuple(loss for loss in LOSSES if loss not in FIRST)
    return main + _rest(FIRST) + _rest(others)


def _rest(losses: tuple[str, ...]) -> list[Case]:
    """fp32 at the main width, then the other widths."""
    single = [Case(loss, n, MAIN_WIDTH, SINGLE) for loss in losses for n in SIZES]
    wide = [Case(loss, n, d, dtype) for dtype in (HALF, SINGLE) for n in SIZES for d in WIDTHS for loss in losses]
    return single + wide


GPU_CASES = _cases()


@dataclass(frozen=True)
class GpuMeasurement(Measurement):
    """One variant of one case on a GPU.

    Attributes:
        products: Matrix products of 2 N^2 D operations that a method without N x N memory needs.
        graph_milliseconds: Median of the replays of a CUDA graph of the same; None where there is none.
        graph_quartiles: Lower and upper quartile of them.
        graph_rounds: How many.
        matrix_share: The rate of the products, as a fraction of that of a large matrix product in the dtype they are
            computed in; None for variants that are not ecgloss's.
    """

    products: int = 3
    graph_milliseconds: float | None = None
    graph_quartiles: tuple[float, float] | None = None
    graph_rounds: int = 0
    matrix_share: float | None = None

    @property
    def gpu_milliseconds(self) -> float:
        """What the GPU itself needs, as far as is known: of the graph, where launches wait for nothing."""
        return self.milliseconds if self.graph_milliseconds is None else self.graph_milliseconds


@dataclass(frozen=True)
class Note:
    """Something that was not measured, and why; of the whole case where the variant is ALL_VARIANTS."""

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


def products(case: Case) -> int:
    """The similarities, the same again in the backward, and a gradient: of infonce two, of queries and of keys."""
    return 4 if case.loss == INFONCE else 3


def matrix_share(m: GpuMeasurement, flop_rates: dict[str, float]) -> float | None:
    """Rate of a measurement's products as a fraction of that of large matrix products, which are given by dtype."""
    if m.variant in PEERS:
        return None
    computed_in = SINGLE if m.variant == "chunked" else m.case.dtype  # which widens its embeddings
    operations = m.products * 2 * m.case.n**2 * m.case.d
    return operations / (m.gpu_milliseconds / 1000) / flop_rates[computed_in]


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
    if not worth_compiling(case):
        return "compiled at some sizes only: it takes long"
    return "no time left to compile" if budget.left < COMPILING_SECONDS else None


def worth_compiling(case: Case) -> bool:
    """Whether a case is one of those at which compiled code is a peer."""
    among = case.loss in FIRST or (case.dtype == HALF and case.n in COMPILED_N_OF_OTHERS)
    return case.d == MAIN_WIDTH and case.n in COMPILED_N[case.dtype] and among
