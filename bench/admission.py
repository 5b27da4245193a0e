"""Which variants of a case are timed: those that are worth it, right, and fit."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache, partial

import memory
from cases import Case
from gate import LARGEST_N, check_at_full_size, gate, small
from gpu_cases import Budget, Note, reason_to_skip
from guard import attempt
from kernel_gates import KernelGates
from variants import COMPILED, PEERS, Data, Loss, absent, step, variants

last_gate = lru_cache(maxsize=1)(gate)  # the variants of a case come one after another


@dataclass
class Admitted:
    """Variants of a case, called once at its size, their peak memory in MiB, and notes on the others."""

    losses: dict[str, Loss] = field(default_factory=dict)
    peaks: dict[str, float | None] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)


@dataclass
class Admission:
    """Judges variants, each once for all cases that are checked at the same size.

    Attributes:
        device: Where they run.
        budget: How long a run may take.
        wanted: Regular expression of the variants.
        kernels: Verdicts on the kernels.
        verdicts: Why another variant failed the gate of a case, "" if it passed.
    """

    device: str
    budget: Budget
    wanted: str
    kernels: KernelGates
    verdicts: dict[tuple[Case, str], str] = field(default_factory=dict)

    def admit(self, case: Case, data: Data) -> Admitted:
        """Try the variants of a case on its inputs."""
        admitted = Admitted()
        for name, loss in variants(case, "cuda").items():  # those of a GPU in a dry run too
            if not re.search(self.wanted, name):
                continue
            peak, reason = self._tried(case, name, loss, data)
            if reason:
                admitted.notes.append(Note(case, name, reason))
            else:
                admitted.losses[name], admitted.peaks[name] = loss, peak
        missing = {name: reason for name, reason in absent(case).items() if re.search(self.wanted, name)}
        admitted.notes += [Note(case, name, reason) for name, reason in missing.items()]
        return admitted

    def _tried(self, case: Case, name: str, loss: Loss, data: Data) -> tuple[float | None, str]:
        """Peak memory of a variant in MiB, or why it is left out."""
        reason = reason_to_skip(case, name, self.device, self.budget) or self._verdict(case, name, loss)
        if reason:
            return None, reason
        peak, reason = attempt(partial(self._peak_mib, name, loss, data), self.device)
        if not reason and name == self.kernels.backend and case.n > LARGEST_N:
            _, reason = attempt(partial(check_at_full_size, case, loss, data), self.device)
        return peak, reason

    def _verdict(self, case: Case, name: str, loss: Loss) -> str:
        """Why a variant is wrong, or "": kernels in a process of their own, which they may break."""
        if name == self.kernels.backend:
            return self.kernels.reason(case)
        key = small(case), name
        if key not in self.verdicts:
            _, verdict = attempt(lambda: last_gate(key[0], self.device)(loss, peer=name in PEERS), self.device)
            self.verdicts[key] = verdict
        return self.verdicts[key]

    def _peak_mib(self, name: str, loss: Loss, data: Data) -> float | None:
        """Peak memory of the first evaluation (of what is compiled, the second: compilers need memory too)."""
        if self.device == "cuda":
            return memory.on_gpu(loss, data, warm_up=int(name == COMPILED))
        step(loss, data)
        return None
