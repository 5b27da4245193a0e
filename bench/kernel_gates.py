"""The gate of kernels, in processes that a broken kernel may take down with it: this one runs none before.

As a script it is such a process: it checks a backend on cases of one loss, width and dtype, up to the gate's largest
size as all variants are, a larger one by one evaluation. A line of JSON for each size says why the backend is not to be
measured there, "" if it may be.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial

import torch
from cases import Case, inputs
from gate import LARGEST_N, gate, small
from timing import attempt, release
from variants import KERNELS, backend, step

AT_ONCE = min(12, os.cpu_count() or 1)  # compiling takes a core each; on the GPU they share
LONGEST_SECONDS = 150.0  # of a process: a kernel may hang


@dataclass
class KernelGates:
    """Verdicts on the kernels, one process for every loss, width and dtype, several at once and ahead of need.

    The processes also leave the compiled kernels in Triton's cache on disk.
    """

    device: str
    seconds_left: Callable[[], float]
    cases: Sequence[Case]  # all that may be asked for, in that order
    backend: str = KERNELS
    command: Sequence[str] = (sys.executable, __file__)  # device, backend, precision and cases follow
    found: dict[Case, str] = field(default_factory=dict)  # reasons

    def reason(self, case: Case) -> str:
        """Why the kernels are not to be measured on a case, "" if they may be."""
        if case not in self.found:
            together: dict[tuple[str, int, str], list[Case]] = {}
            for other in [case, *(c for c in self.cases if c != case and c not in self.found)]:
                together.setdefault((other.loss, other.d, other.dtype), []).append(other)
            with ThreadPoolExecutor(AT_ONCE) as pool:
                for verdicts in pool.map(self._checked, list(together.values())[:AT_ONCE]):
                    self.found |= verdicts
        return self.found[case]

    def _checked(self, cases: list[Case]) -> dict[Case, str]:
        """Verdicts of one process; one that dies fails the sizes it has not reached, or all if one of the gate's."""
        words = [self.device, self.backend, torch.get_float32_matmul_precision()]
        words += [json.dumps([asdict(case) for case in cases])]
        seconds = max(1.0, min(LONGEST_SECONDS, self.seconds_left()))
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
            try:
                code = subprocess.run([*self.command, *words], stdout=out, stderr=errors, timeout=seconds).returncode
                end = f"exit code {code}"
            except subprocess.TimeoutExpired:
                end = f"stopped after {seconds:.0f} s"
            out.seek(0)
            errors.seek(0)
            lines = [json.loads(line) for line in out if line.startswith('{"n":')]  # others print between
            last = next((f", {line.strip()}" for line in reversed(errors.readlines()) if line.strip()), "")
        found = {line["n"]: str(line["reason"]) for line in lines}
        dead = f"its checking process failed: {end}{last}"
        if any(small(case).n not in found for case in cases):
            return dict.fromkeys(cases, next(filter(None, found.values()), dead))
        return {case: found[small(case).n] or found.get(case.n, dead) for case in cases}


def main(device: str, name: str, precision: str, content: str) -> None:
    """Check the gate's sizes, then larger ones, in ascending order, until the GPU is lost."""
    torch.set_float32_matmul_precision(precision)
    cases = [Case(**fields) for fields in json.loads(content)]
    loss = backend(cases[0].loss, name)
    for case in sorted({*cases, *map(small, cases)}, key=lambda case: case.n):
        call = partial(gate(case, device), loss) if case.n <= LARGEST_N else partial(step, loss, inputs(case, device))
        try:
            _, reason = attempt(call, device)
            release(device)  # waits: kernels report their errors late
        except Exception as error:
            print(json.dumps({"n": case.n, "reason": f"the GPU is lost: {error}"}), flush=True)
            os._exit(1)  # what Python does at its end may hang without a GPU
        print(json.dumps({"n": case.n, "reason": reason}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
