"""What one ordinary turn of a kernel's loop over tiles of columns takes of the pipes of a multiprocessor.

Counted per warp and turn: instructions by opcode, operations of the tensor cores, bytes of shared memory that they and
others read, bytes copied from L2. Tiles that hold excluded pairs or columns beyond the last take another way through
the loop and are not counted; what runs in one view of the columns only (softmax's normaliser) counts half.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field

from .sass import NEVER, Instruction, cheapest_turn, main_loop, parse

PIPES = {
    "fma": "FFMA FMUL FADD FFMA32I FMUL32I FADD32I FFMA2 FMUL2 FADD2 HFMA2 HADD2 HMUL2 FSWZADD",
    "imad": "IMAD XMAD IMUL",
    "alu": "FMNMX FMNMX3 FSETP FSEL FSET IADD3 IADD LOP3 SHF SHL SHR SEL ISETP LEA PRMT IMNMX VIADD VIMNMX PLOP3 P2R "
    "R2P F2FP MOV I2FP IABS SGXT BMSK FCHK CS2R VIADDMNMX VABSDIFF LOP ISCADD PSETP ICMP",
    "mufu": "MUFU F2F F2I I2F FRND FLO POPC BREV",
    "shared": "LDS STS LDSM STSM",
    "global": "LDG STG LDGSTS LD ST UTMALDG UTMASTG UBLKCP ATOM RED ATOMG ATOMS LDL STL",
    "shuffle": "SHFL",
    "tensor": "HGMMA HMMA IMMA QGMMA DMMA UTCHMMA UTCQMMA",
    "barrier": "BAR DEPBAR LDGDEPBAR WARPGROUP WARPSYNC MEMBAR FENCE SYNCS ERRBAR CCTL ARRIVES UTCBAR",
    "control": "BRA EXIT BSSY BSYNC BRX JMP CALL RET NOP YIELD BREAK NANOSLEEP ELECT BMOV",
}
_PIPE = {opcode: pipe for pipe, opcodes in PIPES.items() for opcode in opcodes.split()}
PACKED = ("FFMA2", "FMUL2", "FADD2")  # of two fp32 numbers
HMMA_SHAPES = {"16816": (16, 8, 16), "1688": (16, 8, 8), "1684": (16, 8, 4)}
WIDEST = 16  # bytes of a copy that moves embeddings; narrower ones move the vectors of the columns


def pipe(opcode: str) -> str:
    """The pipe of an opcode; "uniform" and "other" issue and cost nothing else here."""
    return _PIPE.get(opcode, "uniform" if opcode.startswith("U") else "other")


@dataclass
class Counts:
    """Of one warp and turn.

    Attributes:
        opcodes: Instructions.
        operations: Floating-point operations of the tensor cores.
        tensor_clocks: Clocks of a multiprocessor that each product takes: by its operations or by its operands.
        operand_bytes: Shared memory that products read.
        shared_bytes: Shared memory read and written otherwise.
        copied_bytes: Embeddings copied from L2.
    """

    opcodes: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    operations: float = 0.0
    tensor_clocks: float = 0.0
    operand_bytes: float = 0.0
    shared_bytes: float = 0.0
    copied_bytes: float = 0.0

    def add(self, i: Instruction, times: float, tensor: float, bank: float) -> None:
        """Count an instruction; ``tensor`` operations and ``bank`` bytes are what a multiprocessor does per clock."""
        opcode = "NEVER" if i.guard in NEVER else i.opcode
        self.opcodes[opcode] += times
        bits = re.search(r"\.(32|64|128)\b", i.name)
        width = int(bits[1]) // 8 if bits else 4
        if opcode == "HGMMA":
            self._add_warpgroup_product(i, times, tensor, bank)
        elif opcode == "HMMA":
            shape = re.search(r"\.(\d{4,5})\b", i.name)
            if shape is None:
                raise ValueError(f"unknown shape of {i.name}")
            m, n, k = HMMA_SHAPES[shape[1]]
            self.operations += times * 2 * m * n * k
            self.tensor_clocks += times * 2 * m * n * k / tensor
        elif opcode in ("LDS", "STS"):
            self.shared_bytes += times * 32 * width
        elif opcode in ("LDSM", "STSM"):
            number = re.search(r"\.([124])$", i.name)
            size = times * 128 * (int(number[1]) if number else 1)
            self.operand_bytes += size if opcode == "LDSM" else 0.0
            self.shared_bytes += size if opcode == "STSM" else 0.0
        elif opcode == "LDGSTS":
            self.shared_bytes += times * 32 * width
            self.copied_bytes += times * 32 * width if width == WIDEST else 0.0

    def _add_warpgroup_product(self, i: Instruction, times: float, tensor: float, bank: float) -> None:
        shape = re.search(r"(\d+)x(\d+)x(\d+)", i.name)
        if shape is None:
            raise ValueError(f"unknown shape of {i.name}")
        m, n, k = (int(x) for x in shape.groups())
        size = 4 if "TF32" in i.name else 2
        from_registers = bool(re.match(r"R\d+, R\d+, gdesc", i.rest))
        read = (n * k + (0 if from_registers else m * k)) * size / 4  # a warp's share
        operations = 2 * m * n * k / 4
        self.operations += times * operations
        self.operand_bytes += times * read
        self.tensor_clocks += times * max(operations / tensor, read / bank)

    def pipes(self) -> dict[str, float]:
        """Instructions by pipe."""
        found: dict[str, float] = defaultdict(float)
        for opcode, count in self.opcodes.items():
            found["other" if opcode == "NEVER" else pipe(opcode)] += count
        return found

    @property
    def total(self) -> float:
        """All instructions."""
        return sum(self.opcodes.values())


def count(disassembly: str, tensor_turns: float, other_turns: float, tensor: float, bank: float) -> Counts:
    """Counts of an ordinary turn; turns of inner loops with matrix products, and of others."""
    blocks = parse(disassembly)
    top, inner = main_loop(blocks, lambda i: pipe(i.opcode) == "tensor")
    taken = cheapest_turn(blocks, top, inner)
    found = Counts()
    for place in sorted(top.body):
        code = blocks[place].code
        times = 1.0
        for loop in inner:
            if place in loop.body:
                products = any(pipe(i.opcode) == "tensor" for x in loop.body for i in blocks[x].code)
                times *= tensor_turns if products else other_turns
        if place not in taken:
            exponentials = sum(i.name == "MUFU.EX2" for i in code)
            follows = any(place in blocks[x].after for x in taken)
            if not follows or exponentials * 8 <= len(code):
                continue
            times *= 0.5  # little but exponentials, in one view of the columns
        for i in code:
            found.add(i, times, tensor, bank)
    return found
