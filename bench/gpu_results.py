"""The result files of the GPU benchmark: written whole, read again, and joined with those of an earlier run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cases import Case
from gpu_cases import GPU_CASES, GpuMeasurement, Note
from gpu_tables import report
from result_files import write_results

from ecgloss._files import read_json

SAME = ("device", "CUDA", "triton", "torch", "fp32 products")  # entries of the header that must agree
NOT_REACHED = "not reached in time"


@dataclass(frozen=True)
class Content:
    """What a run has found."""

    header: dict[str, str]
    notes: list[Note]
    results: list[GpuMeasurement]


def read(path: Path) -> Content | None:
    """An earlier run's file; None where there is none."""
    if not path.exists():
        return None
    content = read_json(path)
    notes = [Note(Case(**note["case"]), note["variant"], note["reason"]) for note in content["notes"]]
    return Content(content["header"], notes, [_measurement(fields) for fields in content["results"]])


def merged(new: Content, earlier: Content | None) -> Content:
    """A run, with those cases of an earlier one in the same environment that it has not measured itself.

    A case is of one run only: times of different runs are not interleaved.
    """
    if earlier is None or any(new.header.get(key) != earlier.header.get(key) for key in SAME):
        return new
    reached = {m.case for m in new.results} | {note.case for note in new.notes if note.reason != NOT_REACHED}
    results = [m for m in earlier.results if m.case not in reached]
    kept = {m.case for m in results}
    notes = [note for note in earlier.notes if note.case not in reached]
    known = kept | {note.case for note in notes}
    notes += [note for note in new.notes if note.case not in known]
    header = dict(new.header)
    if results:
        header["other cases measured"] = earlier.header["date"]
    order = {case: place for place, case in enumerate(GPU_CASES)}
    results = sorted([*results, *new.results], key=lambda m: order.get(m.case, len(order)))
    return Content(header, notes, results)


def write(content: Content, stem: Path) -> None:
    """The files stem.json and stem.md."""
    fields = {
        "header": content.header,
        "notes": [asdict(note) for note in content.notes],
        "results": [asdict(m) for m in content.results],
    }
    write_results(stem, fields, report(content.results, content.header, content.notes))


def _measurement(fields: dict[str, Any]) -> GpuMeasurement:
    """A measurement from its JSON, which has no tuples."""
    quartiles = {name: fields[name] and tuple(fields[name]) for name in ("quartiles", "graph_quartiles")}
    return GpuMeasurement(**{**fields, "case": Case(**fields["case"]), **quartiles})
