"""Check a backend on cases of one loss, width and dtype, in a process that a broken kernel may take down with it.

    python bench/gate_process.py cuda triton highest '[{"loss": "ntxent", "n": 128, "d": 256, "dtype": "bfloat16"}]'

At sizes up to the gate's largest it is the gate; a larger case is evaluated once. A line of JSON for each size says why
the backend is not to be measured there, "" if it may be. After an error that leaves the GPU unusable, the last line has
that in place of a size.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial

import torch
from cases import Case, inputs
from gate import LARGEST_N, gate, small
from guard import DeviceLost, attempt, release
from variants import Loss, backend, step


def check(case: Case, loss: Loss, device: str) -> None:
    """Raise where a loss is wrong, or cannot be computed."""
    if case.n <= LARGEST_N:
        gate(case, device)(loss)
    else:
        step(loss, inputs(case, device))
    release(device)  # waits: kernels report their errors late


def main(device: str, name: str, precision: str, cases: list[Case]) -> None:
    """Check the gate's sizes, then larger ones, in ascending order."""
    torch.set_float32_matmul_precision(precision)
    loss = backend(cases[0].loss, name)
    for case in sorted({*cases, *map(small, cases)}, key=lambda case: case.n):
        _, reason = attempt(partial(check, case, loss, device), device)
        print(json.dumps({"n": case.n, "reason": reason}), flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], sys.argv[3], [Case(**fields) for fields in json.loads(sys.argv[4])])
    except DeviceLost as error:
        print(json.dumps({"lost": str(error)}), flush=True)
        os._exit(1)  # what Python does at its end may hang without a GPU
