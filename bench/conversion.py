"""Time of converting a folder of WFDB records against reading it with wfdb alone: python bench/conversion.py FOLDER

Both use one core of this process; measured is its CPU time, in rounds that alternate, and compared are medians. Opening
an index of a million recordings is measured, too, in a process of its own, and for which part of a training step the
model small waits for its batch. Writes results/conversion.{json,md}.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import wfdb
from large_index import measure_large_index

import ecgloss
from ecgloss._files import read_json_lines, write_json, write_text
from ecgloss.data.cache.part import write_part
from ecgloss.data.preprocess import Preprocessing
from ecgloss.data.sources import resolve
from ecgloss.data.wfdb import find_headers
from ecgloss.train.config import PretrainConfig
from ecgloss.train.pretrain import pretrain

RESULTS = Path(__file__).parent / "results"
ROUNDS = 9


def measure_waiting(workers: int) -> float:
    """Median share of a training step in which the encoder small waits for two views of 64 recordings.

    Args:
        workers: Processes that make batches; 0: the training process does.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = PretrainConfig("synthetic:320", f"{folder}/run", epochs=4, workers=workers, cache=f"{folder}/cache")
        lines = read_json_lines(pretrain(config, progress=False).run / "metrics.jsonl")
    return statistics.median(float(line["waited_for_data"]) for line in lines)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--records", type=int, default=200, help="how many records are read")
    given = parser.parse_args()
    preprocessing = Preprocessing()
    entries = resolve(given.folder, preprocessing).listing.entries[: given.records]
    names = [str(path.with_suffix("")) for path in find_headers(given.folder)][: len(entries)]
    times: dict[str, list[float]] = {"conversion": [], "wfdb.rdrecord": []}
    with tempfile.TemporaryDirectory() as folder:
        for k in range(ROUNDS + 1):  # the first loads what is needed
            begin = time.process_time()
            write_part(k, entries, Path(folder), preprocessing)
            between = time.process_time()
            for name in names:
                wfdb.rdrecord(name)
            end = time.process_time()
            if k:
                times["conversion"].append((between - begin) / len(entries))
                times["wfdb.rdrecord"].append((end - between) / len(names))
    medians = {name: 1e3 * statistics.median(values) for name, values in times.items()}
    ratio = statistics.median(a / b for a, b in zip(*times.values()))
    index = measure_large_index()
    waiting = {workers: measure_waiting(workers) for workers in (0, 1)}
    content = {
        "version": ecgloss.__version__,
        "source": given.folder.name,
        "records": len(entries),
        "cores": os.cpu_count(),
        "rounds": ROUNDS,
        "median_ms": medians,
        "ratio": ratio,
        "index": index,
        "waited_for_data": waiting,
    }
    write_json(RESULTS / "conversion.json", content)
    text = (
        "# Conversion, and a large index\n\n"
        f"`python bench/conversion.py {given.folder.name}`: {len(entries)} records of {given.folder.name}, 12 leads, "
        f"one core, CPU time, medians of {ROUNDS} rounds.\n\n"
        "| | ms per record |\n|---|---|\n"
        + "".join(f"| {name} | {value:.1f} |\n" for name, value in medians.items())
        + f"\nConversion (reading, checks, resampling where needed, filter, writing) takes {ratio:.2f} times as long "
        "as `wfdb.rdrecord`.\n\n"
        f"A cache of {index['recordings']:,} recordings: opened in {index['open_s']:.1f} s, largest memory of the "
        f"process {index['memory_mb']:.0f} MB (before opening {index['before_mb']:.0f} MB), an epoch shuffled in "
        f"{index['shuffle_s']:.2f} s, with pairs of a patient's recordings in {index['pairs_s']:.2f} s.\n\n"
        f"Training the encoder small on two views of 10 s at 500 Hz, batches of 64: the model waits for its batch for "
        f"{100 * waiting[0]:.1f} % of a step, with a worker process for {100 * waiting[1]:.1f} %.\n"
    )
    write_text(RESULTS / "conversion.md", text)
    print(text)


if __name__ == "__main__":
    main()
