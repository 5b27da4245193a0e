"""Results of a search for tiles: measured one by one, kept after each, and what follows from them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ecgloss._files import read_json, write_json

WHOLE = 9999  # D
NOISE = 0.97  # of the time of the launcher's tile: less is a gain
UNFINISHED = "a run ended while this was measured"
Entry = dict[str, Any]
Results = dict[str, Entry]


def key(entry: Entry) -> str:
    """What tells candidates apart."""
    tile = "x".join(str(value) for value in entry["tile"].values())
    return f"{entry['rule']} {entry['pass']} D={entry['D']} N={entry['N']} {tile}"


def load(path: Path, header: Mapping[str, str]) -> Results:
    """Results so far, by :func:`key`.

    Raises:
        ValueError: for those of another GPU or version.
    """
    if not path.exists():
        return {}
    content = read_json(path)
    if content["header"] != header:
        raise ValueError(f"{path} is of {content['header']}, not of {dict(header)}: give another --results")
    return dict(content["results"])


def is_known(outcome: Entry | None, spills: int) -> bool:
    """Whether a candidate need not be measured; what spilled beyond another limit was not."""
    return outcome is not None and ("us" in outcome or "fault" in outcome or outcome["spills"] > spills)


def search(
    entries: Sequence[Entry],
    path: Path,
    end: float,
    measure: Callable[[Entry], Entry],
    spills: int = 0,
    header: Mapping[str, str] | None = None,
    usable: Callable[[], bool] = lambda: True,
    clock: Callable[[], float] = time.monotonic,
) -> Results:
    """Measure what ``path`` does not have yet, until the time is over; a candidate that fails is kept with its reason.

    Args:
        entries: Candidates.
        path: Results so far; written before each, so that one that hangs is not tried again, and after it.
        end: No measurement begins later.
        measure: Gives microseconds of the candidate and of the launcher's tile, spilled bytes and programs that a
            multiprocessor runs at once; spilled bytes only, if they are too many; or raises.
        spills: Bytes that a tile may spill.
        header: Of the file: the GPU and versions.
        usable: Whether others can be measured after one that failed; a GPU may not be, until a new process begins.
        clock: Seconds.
    """
    header = dict(header or {})
    results = load(path, header)
    for entry in entries:
        name = key(entry)
        if is_known(results.get(name), spills):
            continue
        if clock() > end:
            break
        results[name] = entry | {"fault": UNFINISHED}
        write_json(path, {"header": header, "results": results})
        try:
            outcome = measure(entry)
        except Exception as error:  # whatever a compiler or a GPU says is a result
            outcome = {"fault": f"{type(error).__name__}: {error}"[:300]}
        except BaseException:
            del results[name]
            write_json(path, {"header": header, "results": results})
            raise
        results[name] = entry | outcome
        write_json(path, {"header": header, "results": results})
        if "fault" in outcome and not usable():
            print(f"the GPU is unusable after {name}: {outcome['fault']}; run again to go on")
            break
    return results


def gain(result: Entry) -> float:
    """Time relative to the launcher's tile, both measured in turns."""
    return float(result["us"] / result["table us"])


def best(results: Results, spills: int) -> list[Entry]:
    """The fastest right tile of every rule, pass and D, where it beats the launcher's by more than the noise."""
    fastest: dict[tuple[str, str, int], Entry] = {}
    for r in results.values():
        place = (r["rule"], r["pass"], r["D"])
        if "us" in r and r["spills"] <= spills and gain(r) < (gain(fastest[place]) if place in fastest else NOISE):
            fastest[place] = r
    return [fastest[place] for place in sorted(fastest)]


def tile_lines(found: Sequence[Entry], architecture: str, name: Callable[[Entry], str]) -> list[Entry]:
    """The entries of a tile file."""
    return [
        {"architectures": architecture, "passes": name(r), "products": "half", "min_D": r["D"], "max_D": r["D"]}
        | r["tile"]
        | {"occupancy": r["at once"]}
        for r in found
    ]


def table(results: Results, header: Mapping[str, str]) -> str:
    """Everything that was measured, the fastest first, and what failed."""
    names = ("rule", "pass", "D", "N", "tile", "us", "launcher's tile, us", "ratio", "spilled bytes", "at once")
    lines = [", ".join(f"{name} {value}" for name, value in header.items()), ""]
    lines += ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    measured = [r for r in results.values() if "us" in r]
    for r in sorted(measured, key=lambda r: (r["D"], r["rule"], r["pass"], gain(r))):
        tile = " ".join(f"{name} {value}" for name, value in r["tile"].items() if value != WHOLE)
        times = f"{r['us']:,.1f} | {r['table us']:,.1f} | {gain(r):.3f} | {r['spills']} | {r['at once']}"
        lines.append(f"| {r['rule']} | {r['pass']} | {r['D']} | {r['N']:,} | {tile} | {times} |")
    failed = [f"- {name}: {r.get('fault', 'spills too much')}" for name, r in results.items() if "us" not in r]
    return "\n".join([*lines, *(["", "Not measured:", "", *failed] if failed else [])]) + "\n"
