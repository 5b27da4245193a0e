"""What a multiprocessor does per clock, by architecture.

Sources: CUDA C++ programming guide, table of arithmetic throughput (16 special functions, 128 or 64 fp32, 64 integer,
compare and convert, 32 shuffles and loads per clock); white papers of A100, H100 and B200 (dense bf16: 312 TF/s = 108
SMs x 1.41 GHz x 2,048; 989 TF/s = 132 x 1.83 GHz x 4,096; 2,250 TF/s = 148 x 1.85 GHz x 8,192); four schedulers of one
warp instruction each; 128 bytes of shared memory. Least certain: 32 bytes of L2 while all ask. The clock is the boost
clock that tensor cores hold on an H100; a GPU at its power limit runs slower, a cool one faster.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Chip:
    """Per multiprocessor and clock, unless it says otherwise.

    Attributes:
        multiprocessors: Their number.
        ghz: Clock.
        tensor: bf16 operations of the tensor cores.
        fp32: fp32 instructions of a thread.
        shared_memory: Bytes of a multiprocessor.
        memory: Bytes per second of device memory.
    """

    multiprocessors: int
    ghz: float
    tensor: int
    fp32: int
    shared_memory: int
    memory: float


CHIPS = {
    "sm80": Chip(108, 1.41, 2048, 64, 167_936, 1.555e12),
    "sm90": Chip(132, 1.755, 4096, 128, 233_472, 3.35e12),
    "sm100": Chip(148, 1.85, 8192, 128, 233_472, 8e12),
}
SPECIAL, INTEGER, LANES, BANK, L2 = 16, 64, 32, 128, 32
SCHEDULERS, WARP = 4, 32
REGISTERS, MOST_WARPS, RESERVED_SHARED = 65_536, 64, 1024  # of a multiprocessor; bytes per program
CUBLAS_SHARE = 0.75  # of the tensor peak: large bf16 products
