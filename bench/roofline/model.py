"""Clocks and milliseconds of a kernel, from its counts: a model, never a measurement.

A program multiplies (the longest of the product's operations and the shared memory it reads), waits, and then does the
rest of a tile, the epilogue (the longest pipe, or the issue of its instructions): ``serial`` is the sum. Programs that
share a multiprocessor fill each other's gaps, up to the longest pipe of all: ``overlapped``. So k programs on a
multiprocessor take the larger of ``overlapped`` and serial / k. Latencies come on top.

Clocks are those of one multiprocessor per 128 pairs. Not modelled: latencies, waiting in line for shared memory or L2,
and on sm100 the way from and to tensor memory and the shared memory that its products read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .chips import (
    BANK,
    CHIPS,
    CUBLAS_SHARE,
    INTEGER,
    L2,
    LANES,
    MOST_WARPS,
    REGISTERS,
    RESERVED_SHARED,
    SCHEDULERS,
    SPECIAL,
    WARP,
)
from .counts import PACKED, Counts

PAIRS = SCHEDULERS * WARP  # 128: one pair per thread of the four schedulers
BINDING = ("mma", "shared", "mufu", "fma", "alu", "imad", "issue", "l2")


def programs_at_once(registers: int, shared: int, warps: int, memory: int) -> int:
    """Programs that fit on a multiprocessor, by registers per thread, bytes of its shared ``memory``, and warps."""
    by_registers = REGISTERS // (math.ceil(registers / 8) * 8 * WARP * warps)
    return min(by_registers, memory // (shared + RESERVED_SHARED), MOST_WARPS // warps)


@dataclass(frozen=True)
class Analysis:
    """A compiled kernel and what was counted in it.

    Attributes:
        kernel: What was compiled (``compile_kernels.Kernel``).
        tile: Its tile.
        registers: Per thread.
        spills: Bytes of a thread's stack.
        shared: Bytes per program.
        counts: Of one warp and turn.
        needed: Operations of the tensor cores that a warp's part of the tile needs.
    """

    kernel: Any
    tile: Any
    registers: int
    spills: int
    shared: int
    counts: Counts
    needed: float

    @property
    def repeated(self) -> float:
        """How often the operations of the tile are done; 1 unless warps outnumber its parts."""
        return self.counts.operations / self.needed

    @property
    def per_multiprocessor(self) -> int:
        """Programs that fit on a multiprocessor at once."""
        memory = CHIPS[self.kernel.architecture].shared_memory
        return programs_at_once(self.registers, self.shared, self.tile.warps, memory)

    def per_pair(self) -> dict[str, float]:
        """Thread instructions per pair, by pipe; "all": their sum."""
        scale = self.tile.warps * WARP / (self.tile.rows * self.tile.columns)
        found = {name: count * scale for name, count in self.counts.pipes().items()}
        return found | {"all": self.counts.total * scale}

    def copied(self) -> float:
        """Bytes of embeddings that a tile copies from L2: its columns, and its rows if they are not held."""
        t, d, size = self.tile, self.kernel.width, 2
        held = t.depth == d
        again = self.kernel.step == "backward" and not (held and t.width == d)
        return float(size * (t.columns * d + (0 if held else t.rows * d) + (t.columns * t.width if again else 0)))

    def clocks(self) -> dict[str, float]:
        """Lower bounds by pipe, and what follows from them."""
        c, pipes, chip = self.counts, self.counts.pipes(), CHIPS[self.kernel.architecture]
        pairs = self.tile.rows * self.tile.columns
        scale = float(self.tile.warps * PAIRS / pairs)

        def lanes(name: str) -> float:
            return pipes[name] * WARP * scale

        packed = sum(c.opcodes[opcode] for opcode in PACKED) * WARP * scale  # two operations each
        feeding = pipes["tensor"] + min(pipes["uniform"], 4 * pipes["tensor"])
        if c.opcodes["HMMA"]:
            feeding = pipes["tensor"] + c.opcodes["LDSM"]
        found = {
            "tensor": c.operations * scale / chip.tensor,
            "mma": c.tensor_clocks * scale,
            "shared": (c.operand_bytes + c.shared_bytes) * scale / BANK,
            "mufu": lanes("mufu") / SPECIAL,
            "fma": (lanes("fma") + packed + (lanes("imad") if chip.fp32 == 2 * INTEGER else 0)) / chip.fp32,
            "imad": lanes("imad") / INTEGER,
            "alu": lanes("alu") / INTEGER,
            "lanes": (lanes("shared") + lanes("global") + lanes("shuffle")) / LANES,
            "issue": c.total * scale / SCHEDULERS,
            "l2": self.copied() * PAIRS / pairs / L2,
        }
        found["overlapped"] = max(found[name] for name in BINDING)
        if c.opcodes["HMMA"]:  # fragments are read before they are multiplied
            found["mma"] = max(found["mma"], c.operand_bytes * scale / BANK)
        rest = [found[name] for name in ("mufu", "fma", "imad", "alu", "lanes")]
        issue = found["issue"] - feeding * scale / SCHEDULERS
        found["epilogue"] = max(*rest, issue, c.shared_bytes * scale / BANK)
        found["serial"] = found["mma"] + found["epilogue"]
        found["predicted"] = max(found["overlapped"], found["serial"] / max(1, self.per_multiprocessor))
        return found

    def binds(self) -> str:
        """The longest pipe."""
        clocks = self.clocks()
        return max(BINDING, key=clocks.__getitem__)

    def waves(self, programs: int) -> float:
        """Clocks for a turn of all ``programs``; of the last wave, no more share a multiprocessor than are left."""
        clocks, multiprocessors = self.clocks(), CHIPS[self.kernel.architecture].multiprocessors
        at_once = max(1, self.per_multiprocessor)
        full, rest = divmod(programs, at_once * multiprocessors)
        sharing = [at_once] * full + ([math.ceil(rest / multiprocessors)] if rest else [])
        return float(sum(max(k * clocks["overlapped"], clocks["serial"]) for k in sharing))

    def milliseconds(self, n: int, choose_splits: Callable[[int, int, int, int], int], strip_rows: int) -> float:
        """Of all launches over n x n pairs; with strips of G also those of cuBLAS and of their way through memory.

        Args:
            n: Rows, and columns.
            choose_splits: The launcher's choice, by programs, tiles, programs at once and rows of a launch.
            strip_rows: Rows of a strip of G.
        """
        t, d, chip = self.tile, self.kernel.width, CHIPS[self.kernel.architecture]
        held = min(n, strip_rows) if self.kernel.step == "strip" else n
        programs = math.ceil(held / t.rows) * (d // t.width if self.kernel.step == "backward" else 1)
        tiles = math.ceil(n / t.columns)
        splits = choose_splits(programs, tiles, t.occupancy * chip.multiprocessors, held)
        clocks = self.waves(programs * splits) * t.rows * t.columns / PAIRS
        found = float(clocks * math.ceil(tiles / splits) * math.ceil(n / held) / chip.ghz / 1e6)
        if self.kernel.step == "strip":
            peak = chip.multiprocessors * chip.ghz * 1e9 * chip.tensor
            found += 1e3 * (2 * n * n * d / (CUBLAS_SHARE * peak) + 2 * 2 * n * n / chip.memory)
        return found
