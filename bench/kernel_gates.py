"""What processes of their own find out about the kernels: where they are right, before this one runs any."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from cases import DTYPES, Case
from gate import small
from gpu_cases import Budget

KERNELS = "triton"
SCRIPT = Path(__file__).with_name("gate_process.py")
AT_ONCE = min(12, os.cpu_count() or 1)  # compiling takes a core each; on the GPU they share
LONGEST_SECONDS = 150.0  # of a process: a kernel may hang


@dataclass
class KernelGates:
    """Verdicts on the kernels, one process for every loss, width and dtype, several at once and ahead of need.

    The processes also leave the compiled kernels in Triton's cache on disk.

    Attributes:
        device: Where they are checked.
        budget: How long a run may take.
        cases: All that may be asked for, in that order.
        backend: What is checked.
        command: The start of a process; words as :mod:`gate_process` takes them follow.
        found: Why the kernels are not to be measured on a case, "" if they may be.
    """

    device: str
    budget: Budget
    cases: Sequence[Case]
    backend: str = KERNELS
    command: Sequence[str] = (sys.executable, str(SCRIPT))
    found: dict[Case, str] = field(default_factory=dict)

    def reason(self, case: Case) -> str:
        """Why the kernels are not to be measured on a case, "" if they may be."""
        if case not in self.found:
            together: dict[tuple[str, int, str], list[Case]] = {}
            for other in [case, *(c for c in self.cases if c != case and c not in self.found)]:
                together.setdefault((other.loss, other.d, other.dtype), []).append(other)
            batch = list(together.values())[:AT_ONCE]
            print(f"checking {self.backend}: {', '.join(_name(cases[0]) for cases in batch)}", flush=True)
            with ThreadPoolExecutor(AT_ONCE) as pool:
                for verdicts in pool.map(self._checked, batch):
                    self.found |= verdicts
        return self.found[case]

    def _checked(self, cases: list[Case]) -> dict[Case, str]:
        """Verdicts of one process."""
        words = [
            self.device,
            self.backend,
            torch.get_float32_matmul_precision(),
            json.dumps([asdict(c) for c in cases]),
        ]
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
            run = partial(subprocess.run, [*self.command, *words], stdout=out, stderr=errors, stdin=subprocess.DEVNULL)
            seconds = max(1.0, min(LONGEST_SECONDS, self.budget.left))
            try:
                code = run(timeout=seconds).returncode
                end = f"exit code {code}" if code else ""
            except subprocess.TimeoutExpired:
                end = f"stopped after {seconds:.0f} s"
            for file in (out, errors):
                file.seek(0)
            lines = [_parsed(line) for line in out]
            last = next((line.strip() for line in reversed(errors.readlines()) if line.strip()), "")
        found = {line["n"]: str(line["reason"]) for line in lines if "n" in line}
        lost = next((str(line["lost"]) for line in lines if "lost" in line), "")
        return verdicts(cases, found, lost or (f"{end}, {last}" if end and last else end))


def verdicts(cases: Sequence[Case], found: dict[int, str], end: str) -> dict[Case, str]:
    """Verdicts on cases from those on sizes, and from why the process ended early.

    A process that did not get through the gate fails all its cases, one that died later those it had not reached.
    """
    dead = f"its checking process failed: {end or 'it said nothing'}"
    if any(small(case).n not in found for case in cases):
        return dict.fromkeys(cases, dead)
    return {case: found[small(case).n] or found.get(case.n, dead) for case in cases}


def _parsed(line: str) -> dict[str, Any]:
    """A line of JSON; nothing from what libraries print between."""
    try:
        content = json.loads(line)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _name(case: Case) -> str:
    """What the cases of one process have in common."""
    return f"{case.loss} {case.d} {DTYPES[case.dtype]}"
