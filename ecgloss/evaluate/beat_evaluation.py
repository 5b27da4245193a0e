"""Premature beats, one by one: a trained encoder against a random one, leaving one patient out at a time.

This is the task of CPSC 2020, for any database whose card has records with marked premature beats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgloss._extras import require
from ecgloss._files import write_json
from ecgloss.data.cards import choose
from ecgloss.data.preprocess import Preprocessing
from ecgloss.data.recording import Skipped, normalise_lead
from ecgloss.data.splits import Split
from ecgloss.evaluate.beat_matching import BeatCounts
from ecgloss.evaluate.cpsc2020_score import KINDS, cpsc2020_score, premature_beat_counts
from ecgloss.evaluate.embed import ALL_LEADS
from ecgloss.evaluate.leave_out import LeaveOut, leave_patients_out
from ecgloss.evaluate.resampling import Estimate, bootstrap, paired_difference
from ecgloss.evaluate.single_beats import WINDOW_S, BeatWindows, embed_beats, find_beats, within_record
from ecgloss.evaluate.tables import ResultRow, text
from ecgloss.evaluate.tasks import SINGLE_BEATS
from ecgloss.evaluate.weighting import Floats
from ecgloss.models.encoder import Encoder
from ecgloss.models.pretrained import EncoderCard, find_checkpoint, fresh_encoder, load_encoder, several_leads

RANDOM, TRAINED = "random encoder", "checkpoint"


@dataclass(frozen=True)
class BeatResult:
    """What the probes of one encoder found in the tested records.

    Attributes:
        counts: Per kind of beat, the counts of every tested record, matched one to one at 150 ms.
        f1: Per kind, F1 of all records together, with the interval over patients.
        points: Per kind, the official score of CPSC 2020.
        probes: The probes, one per patient.
    """

    counts: dict[str, list[BeatCounts]]
    f1: dict[str, Estimate]
    points: dict[str, int]
    probes: LeaveOut

    def to_json(self, hours: float) -> dict[str, Any]:
        """Plain values for a JSON file; NaN becomes ``None``."""
        kinds: dict[str, Any] = {}
        for kind, records in self.counts.items():
            total = sum(records, BeatCounts())
            kinds[kind] = {
                "f1": self.f1[kind].to_json(),
                "precision": _json_number(total.precision),
                "sensitivity": _json_number(total.sensitivity),
                "false_per_hour": _json_number(total.false_positives / hours),
                "points": self.points[kind],
                **vars(total),
            }
        probes = self.probes
        return {
            "kinds": kinds,
            "probes": [
                {
                    "patient": patient,
                    "n_train": n_train,
                    "n_validation": n_validation,
                    "regularisation": _json_number(penalty),
                    "not_learnt": list(unlearnt),
                }
                for patient, n_train, n_validation, penalty, unlearnt in zip(
                    probes.tested, probes.n_train, probes.n_validation, probes.penalties, probes.unlearnt
                )
            ],
        }


@dataclass(frozen=True)
class BeatEvaluation:
    """Probes of single beats on a checkpoint and on a random encoder.

    Attributes:
        checkpoint: The checkpoint folder.
        data: The data source.
        database: Name of the card that read it.
        lead: The lead, or leads, that were embedded; where records have different ones, all of them.
        labels: Which training labels were used, ``"all"`` or a share.
        beats: The tested records.
        results: One per encoder, ``"random encoder"`` and ``"checkpoint"``.
        difference: Checkpoint minus random, F1 per kind of beat, from the same resamples of patients.
        card: The checkpoint's card.
        skipped: Records that could not be used, each with the reason.
        notes: What else there is to know.
    """

    checkpoint: Path
    data: str
    database: str
    lead: str
    labels: str
    beats: list[BeatWindows]
    results: dict[str, BeatResult]
    difference: dict[str, Estimate]
    card: EncoderCard
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def hours(self) -> float:
        """Length of the tested records."""
        return sum(record.seconds for record in self.beats) / 3600

    def rows(self) -> list[ResultRow]:
        """Rows of the result table."""
        return [
            ResultRow(method, f"F1 of {kind}", self.labels, estimate)
            for method, result in self.results.items()
            for kind, estimate in result.f1.items()
        ]

    def __str__(self) -> str:
        """The table with what it was measured on."""
        return "\n".join([text(self.rows()), *self.summary()])

    def summary(self) -> list[str]:
        """What the table was measured on, the official score, and what could not be learnt."""
        patients = len({record.patient for record in self.beats})
        lines = [
            f"task {SINGLE_BEATS}, lead {self.lead}, {len(self.beats)} records of {patients} patients, "
            f"{self.hours:.2f} hours; each patient tested by a probe of the others; 95 % intervals over patients"
        ]
        for kind in KINDS:
            marked = sum(len(record.marks[kind]) for record in self.beats)
            found = sum(int((record.labels == KINDS.index(kind)).sum()) for record in self.beats)
            lines.append(f"{kind}: {marked} beats in the reference, of {found} an R peak was found within 150 ms")
        for method, result in self.results.items():
            points = ", ".join(f"{kind} {result.points[kind]}" for kind in KINDS)
            lines.append(f"official score of CPSC 2020, {method}: {points} (0 is the best)")
        for kind, difference in self.difference.items():
            lines.append(f"checkpoint minus random encoder, F1 of {kind}: {difference}")
        probes = self.results[TRAINED].probes
        for kind in KINDS:
            without = [p for p, unlearnt in zip(probes.tested, probes.unlearnt) if kind in unlearnt]
            if without:
                lines.append(f"{kind} could not be learnt, and was never said, without patient {', '.join(without)}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {
            "checkpoint": str(self.checkpoint),
            "data": self.data,
            "task": SINGLE_BEATS,
            "database": self.database,
            "lead": self.lead,
            "labels": self.labels,
            "hours": self.hours,
            "records": [_record_json(record) for record in self.beats],
            "skipped": [vars(record) for record in self.skipped],
            "notes": list(self.notes),
            "results": {name: result.to_json(self.hours) for name, result in self.results.items()},
            "difference": {kind: estimate.to_json() for kind, estimate in self.difference.items()},
        }

    def save(self, path: str | Path) -> None:
        """Write :meth:`to_json`."""
        write_json(path, self.to_json())


def evaluate_beats(
    checkpoint: str | Path,
    data: str | Path,
    *,
    lead: str | None = None,
    model: str | Callable[..., Any] | None = None,
    label_fraction: float = 1.0,
    window_s: float = WINDOW_S,
    seed: int = 0,
    n_boot: int = 1000,
    device: str = "cpu",
    progress: bool = True,
) -> BeatEvaluation:
    """Tell premature beats from others with linear probes of a checkpoint, and of a random encoder beside it.

    Records are read whole. R peaks are found by the package's own detector and labelled S, V or neither from the marks
    of the database (:func:`~ecgloss.evaluate.single_beats.find_beats`); windows around them are embedded,
    the embeddings of a record become z-scores within it (:func:`~ecgloss.evaluate.single_beats.within_record`), and
    each patient's beats are decided by a probe of the others
    (:func:`~ecgloss.evaluate.leave_out.leave_patients_out`).
    Decisions are compared with *all* reference beats, also those that the detector missed.

    Patients whose records the encoder was pretrained on train the probes, and are not tested.

    Args:
        checkpoint: A training run or one of its checkpoints.
        data: Folder of a database whose card marks premature beats: CPSC 2020, MIT-BIH.
        lead: The lead to search and embed; default: II, or a record's next best. None for an encoder that sees several
            leads at once.
        model: Required for an encoder of a factory, see :func:`ecgloss.models.load_encoder`.
        label_fraction: Share of the training beats whose labels the probes may use, in (0, 1].
        window_s: Length of the window around a beat in seconds, at most that of the encoder's input.
        seed: Seed of label subsets, bootstrap and of the random encoder.
        n_boot: Bootstrap resamples.
        device: Where to compute embeddings.
        progress: Show progress bars.

    Returns:
        The evaluation.

    Raises:
        ValueError: for a missing checkpoint, a folder whose database marks no premature beats, fewer than three
            patients, or kinds of beat of which none can be learnt.
        MissingExtraError: if NeuroKit2 (extra ``features``) or scikit-learn (``eval``) is not installed.
    """
    if not 0 < label_fraction <= 1:
        raise ValueError(f"label_fraction must lie in (0, 1]; got {label_fraction}")
    if not window_s > 0:
        raise ValueError(f"window_s must be positive, in seconds; got {window_s}")
    folder = find_checkpoint(checkpoint)
    trained, card = load_encoder(folder, model)
    if lead == ALL_LEADS:
        raise ValueError(f"the task {SINGLE_BEATS} needs one lead, to find the beats in; got lead {lead}")
    leads = several_leads(card, lead) or (None if lead is None else [normalise_lead(lead)])
    preprocessing = Preprocessing.from_json(card.preprocessing)
    database, beats, skipped = read_beats(data, preprocessing, leads, progress=progress)
    seen = _seen_patients(folder, card, database, beats)
    notes = (
        [f"{len(seen)} patients are not tested: the encoder was pretrained on them ({', '.join(seen)})"] if seen else []
    )
    tested = [record for record in beats if record.patient not in set(seen)]
    results = {}
    for name, encoder in {RANDOM: fresh_encoder(card, model, seed), TRAINED: trained}.items():
        z = _embeddings(encoder, beats, preprocessing, card.seconds, window_s, device, name if progress else None)
        probes = _probes(z, beats, seen, label_fraction, seed)
        results[name] = _result(probes, beats, tested, seed, n_boot)
    return BeatEvaluation(
        checkpoint=folder,
        data=str(data),
        database=database,
        lead=", ".join(leads) if leads else "II or the next best",
        labels="all" if label_fraction == 1 else f"{100 * label_fraction:g} % of",
        beats=tested,
        results=results,
        difference=_differences(results, tested, seed, n_boot),
        card=card,
        skipped=skipped,
        notes=notes,
    )


def read_beats(
    data: str | Path, preprocessing: Preprocessing, leads: Sequence[str] | None = None, *, progress: bool = True
) -> tuple[str, list[BeatWindows], list[Skipped]]:
    """The records of a database with their beats; its name, and what could not be used.

    Args:
        data: Its folder.
        preprocessing: That of the encoder.
        leads: Leads of the windows; default: one lead, II or a record's next best.
        progress: Show a progress bar.

    Raises:
        ValueError: if the folder does not exist, its database marks no premature beats, or no record can be used.
    """
    folder = Path(data).expanduser()
    if not folder.is_dir():
        raise ValueError(f"the task {SINGLE_BEATS} reads the folder of a database with premature beats; got {data}")
    database = choose(folder)
    entries = list(database.beat_records(folder))
    if not entries:
        raise ValueError(
            f"{data} ({database.title}) marks no single premature beats; the task {SINGLE_BEATS} is for cpsc2020, mitdb"
        )
    beats, skipped = [], []
    for entry in require("tqdm", "data").tqdm(entries, desc="find beats", disable=not progress, leave=False):
        try:
            beats.append(find_beats(entry.read(), preprocessing, leads))
        except ImportError:
            raise  # a missing package is no failure of a record
        except Exception as error:  # readers raise many types on damaged files
            skipped.append(Skipped(entry.name, " ".join(str(error).split())))
    if not beats:
        raise ValueError(f"no record of {data} can be used; {skipped[0]}")
    return database.name, beats, skipped


def _seen_patients(folder: Path, card: EncoderCard, database: str, beats: Sequence[BeatWindows]) -> list[str]:
    """Patients of whom a window was among the training recordings: those are called RECORD/0000, RECORD/0001, ..."""
    path = folder.parent.parent / "split.json"
    if card.data.get("name") != database or not path.is_file():
        return []
    split = Split.load(path)
    every = card.training.get("train_on") == "all"
    records = {split.names[i].rpartition("/")[0] for i in (range(len(split.names)) if every else split.train)}
    return sorted({record.patient for record in beats if record.name in records})


def _embeddings(
    encoder: Encoder,
    beats: Sequence[BeatWindows],
    preprocessing: Preprocessing,
    seconds: float,
    window_s: float,
    device: str,
    shown: str | None,
) -> NDArray[np.float32]:
    """Embeddings of all beats of all records, (n, D), as z-scores within each record."""
    bar = require("tqdm", "data").tqdm(beats, desc=f"embed, {shown}", disable=shown is None, leave=False)
    return np.concatenate(
        [
            within_record(embed_beats(encoder, b, preprocessing, seconds=seconds, window_s=window_s, device=device))
            for b in bar
        ]
    )


def _probes(
    z: NDArray[np.float32], beats: Sequence[BeatWindows], seen: Sequence[str], label_fraction: float, seed: int
) -> LeaveOut:
    """Decisions about all beats."""
    labels = np.concatenate([record.labels for record in beats])
    return leave_patients_out(
        z,
        (labels[:, None] == np.arange(len(KINDS))).astype(np.float64),
        np.repeat([record.patient for record in beats], [len(record.peaks) for record in beats]).tolist(),
        classes=KINDS,
        never_tested=seen,
        label_fraction=label_fraction,
        seed=seed,
    )


def _result(
    probes: LeaveOut, beats: Sequence[BeatWindows], tested: Sequence[BeatWindows], seed: int, n_boot: int
) -> BeatResult:
    """Scores of the decisions on the tested records."""
    ends = np.cumsum([len(record.peaks) for record in beats])
    decisions = dict(zip([record.name for record in beats], np.split(probes.decisions, ends[:-1])))
    counts: dict[str, list[BeatCounts]] = {kind: [] for kind in KINDS}
    points = dict.fromkeys(KINDS, 0)
    for record in tested:
        said = {kind: record.peaks[decisions[record.name] == k] for k, kind in enumerate(KINDS)}
        for kind, found in premature_beat_counts([said], [record.marks], record.sampling_rate).items():
            counts[kind] += found
        for kind, more in cpsc2020_score([said], [record.marks], record.sampling_rate).items():
            points[kind] += more
    groups = [record.patient for record in tested]
    f1 = {
        kind: bootstrap(_f1, *_said_and_true(counts[kind]), groups=groups, seed=seed, n_boot=n_boot) for kind in KINDS
    }
    return BeatResult(counts, f1, points, probes)


def _differences(
    results: dict[str, BeatResult], tested: Sequence[BeatWindows], seed: int, n_boot: int
) -> dict[str, Estimate]:
    """F1 of the checkpoint minus that of the random encoder, per kind."""
    found = {}
    for kind in KINDS:
        ours, true = _said_and_true(results[TRAINED].counts[kind])
        others, _ = _said_and_true(results[RANDOM].counts[kind])
        groups = [record.patient for record in tested]
        found[kind] = paired_difference(_f1, ours, others, true, groups=groups, seed=seed, n_boot=n_boot)
    return found


def _said_and_true(counts: Sequence[BeatCounts]) -> tuple[Floats, Floats]:
    """Of each record: (n, 2) true positives and all that was said, and (n,) all that was there."""
    said = [[c.true_positives, c.true_positives + c.false_positives] for c in counts]
    return np.array(said, float), np.array([c.true_positives + c.false_negatives for c in counts], float)


def _f1(said: Floats, true: Floats) -> float:
    """F1 of records together: twice the true positives, over all said and all that are there; NaN for 0 / 0."""
    whole = float(said[:, 1].sum() + true.sum())
    return 2 * float(said[:, 0].sum()) / whole if whole else float("nan")


def _record_json(record: BeatWindows) -> dict[str, Any]:
    """What is known of a tested record before any probe."""
    found = {kind: int((record.labels == k).sum()) for k, kind in enumerate(KINDS)}
    return {
        "name": record.name,
        "patient": record.patient,
        "seconds": record.seconds,
        "r_peaks": len(record.peaks),
        "reference": {kind: len(record.marks[kind]) for kind in KINDS},
        "reference_with_r_peak": found,
    }


def _json_number(value: float) -> float | None:
    """A number for JSON, which knows no NaN."""
    return None if np.isnan(value) else float(value)
