"""The command ``ecgloss risk``: scores of a table of patients, and the check that a table belongs to its recordings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from ecgloss.risk.missing import ClinicalRisk

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def add_options(parser: ArgumentParser) -> None:
    """The options of the command."""
    from typing import Literal

    from ecgloss.risk.models import REGIONS

    def option(name: str, kind: Any, default: Any, words: str) -> None:
        parser.add_argument(f"--{name}", type=kind, default=default, help=words)

    region = Literal[tuple(REGIONS)]  # type: ignore[valid-type]
    option("table", str, None, "Table of patients: CSV, TSV or Parquet.")
    option("columns", str, None, "What its columns mean, e.g. sbp=systolic,egfr=gfr; other headings are recognised.")
    option("out", str, None, "File to write: .csv or .parquet; .json with --check.")
    option("score", str, "auto", "Score by name, or a coefficient file (.json).")
    option("region", region | None, None, "SCORE2 risk region of the patients' country.")
    option("country", str, None, "Their country in place of the region, e.g. Germany.")
    option("chol_unit", Literal["mmol/L", "mg/dL"], "mmol/L", "Unit of cholesterol.")
    option("glucose_unit", Literal["mmol/mol", "%"], "mmol/mol", "Unit of HbA1c.")
    option("extrapolate", Literal["nan", "clip"], "nan", "Outside the range of the score: no score, or clip.")
    option("missing_inputs", Literal["impute", "nan"], "impute", "Unknown inputs: impute, or no score.")
    option("population", str, "europe", "Population values: europe, sex_means or a file.")
    option("plot", str, None, "Picture of the scores and of the weights of a batch.")
    option("batch_size", int, 64, "Patients in the batch of --plot.")
    option("seed", int, 0, "Seed of the batch of --plot, and of the bootstrap of --check.")
    parser.add_argument(
        "--check", action="store_true", help="Check that table and recordings (--data) belong together."
    )
    option("data", str, None, "Recordings to check: a folder, a cache, an own file, or synthetic[:N].")
    option("units", str, None, "Units of own files that do not say them: mV, uV or V.")
    option("source_rate", float, None, "Sampling rate in Hz of own files that do not say it.")
    option("leads", str, None, "Names of the rows of an array, or channels to take, e.g. I,II,V5.")
    option("dataset_name", str, None, "Array of signals in an HDF5, MATLAB or .npz file.")
    option("sampling_rate", float, 500.0, "Rate in Hz at which --check measures the ECG.")
    option("lead", str, None, "Lead that --check measures (default: II, or a recording's next best).")
    option("workers", int, 0, "Processes that measure the ECG; 0: this one alone.")
    option("cache", str, None, "Folder of converted caches.")


def refuse(config: Namespace) -> str | None:
    """What is wrong with the options, if anything."""
    if config.check:
        if config.data is None:
            return "risk --check needs --data, the recordings"
        if config.plot is not None:
            return "risk --check takes no --plot"
        if config.out is not None and not config.out.endswith(".json"):
            return f"--out {config.out} must end in .json with --check"
        return None
    if config.table is None or config.out is None:
        return "risk needs --table and --out, or --check and --data"
    if config.data is not None:
        return "--data belongs to --check"
    if config.batch_size < 2:
        return f"--batch_size must be at least 2; got {config.batch_size}"
    if Path(config.out).suffix.lower() not in (".csv", ".parquet", ".pq"):
        return f"--out {config.out} must end in .csv or .parquet"
    return None


def run(config: Namespace) -> int:
    """Compute scores, or check recordings."""
    return _check(config) if config.check else _scores(config)


def _scores(config: Namespace) -> int:
    """Write the risk of every patient of a table, and say how it came about."""
    from ecgloss.data.risk_table import read_risk_table, write_risk_table
    from ecgloss.risk.missing import clinical_risk

    table = read_risk_table(config.table, config.columns)
    for note in table.notes:
        print(note, file=sys.stderr)
    units = {"chol_unit": config.chol_unit, "glucose_unit": config.glucose_unit}
    found = clinical_risk(**table.inputs, **_score_options(config), **units, implausible="flag")
    warnings = _plot(config, found) if config.plot is not None else []
    write_risk_table(config.out, table.ids, found)
    for line in summary(found):
        print(line)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{len(found)} patients: {config.out}")
    return 0


def summary(found: ClinicalRisk) -> list[str]:
    """Count, quantiles, and shares that were imputed, clipped, out of range and flagged."""
    import numpy as np

    n, count = len(found), found.counts()
    known = found.risk[np.isfinite(found.risk)]
    lines = [f"{len(known):,} of {n:,} patients have a score"]
    points = {model.link == "points" for k, model in enumerate(found.models) if (found.model == k).any()} == {True}
    if len(known):
        values = np.quantile(known, _QUANTILES)
        shown = ", ".join(f"{q:.0%} {x:.1f}" if points else f"{q:.0%} {x:.2%}" for q, x in zip(_QUANTILES, values))
        lines.append(f"quantiles: {shown}")
    share = {name: count[name] / max(n, 1) for name in ("with_imputed_inputs", "clipped", "out_of_range", "flagged")}
    lines.append(
        f"imputed inputs {share['with_imputed_inputs']:.1%}, clipped {share['clipped']:.1%}, "
        f"out of range {share['out_of_range']:.1%}, flagged {share['flagged']:.1%}"
    )
    return lines + found.sentences()


def _plot(config: Namespace, found: ClinicalRisk) -> list[str]:
    """Draw scores and the weights of one batch; returns warnings."""
    import numpy as np
    import torch

    from ecgloss._extras import require
    from ecgloss._files import replacing
    from ecgloss.evaluate.risk_figures import risk_and_weights
    from ecgloss.pairs.look import look_at_weights

    require("matplotlib", "eval")
    if len(found) < 2:
        raise ValueError(f"--plot compares patients; the table has {len(found)}")
    rows = np.random.default_rng(config.seed).permutation(len(found))[: config.batch_size]
    look = look_at_weights(torch.from_numpy(found.risk[rows]), torch.from_numpy(found.missing[rows]))
    figure = risk_and_weights(found, look, len(rows))
    suffix = Path(config.plot).suffix.lstrip(".") or "png"
    with replacing(config.plot) as temporary:
        figure.savefig(temporary, format=suffix, dpi=150)
    print(f"picture: {config.plot}", file=sys.stderr)
    return look.sentences("clef.risk_scale")


def _check(config: Namespace) -> int:
    """Join, correlate and report."""
    from ecgloss._files import write_json
    from ecgloss.data.opening import open_dataset
    from ecgloss.data.preprocess import Preprocessing
    from ecgloss.evaluate.risk_check import check_risk, join_for_check, simple_features
    from ecgloss.physiology import physiology_of

    preprocessing = Preprocessing(sampling_rate=config.sampling_rate)
    leads = None if config.leads is None else [lead.strip() for lead in config.leads.split(",") if lead.strip()]
    dataset = open_dataset(
        config.data,
        preprocessing=preprocessing,
        cache_dir=config.cache,
        units=config.units,
        source_rate=config.source_rate,
        leads=leads,
        dataset_name=config.dataset_name,
    )
    joined = join_for_check(dataset, config.table, config.columns)
    for note in joined.notes:
        print(note, file=sys.stderr)
    features = simple_features(physiology_of(dataset, lead=config.lead, workers=config.workers))
    found = check_risk(dataset, joined, features, seed=config.seed, **_score_options(config))
    if config.out is not None:  # on disk before it is printed
        write_json(config.out, found.to_json())
    for line in found.sentences():
        print(line)
    return 0


def _score_options(config: Namespace) -> dict[str, Any]:
    """Options of the score."""
    return {
        "score": config.score,
        "region": config.region,
        "country": config.country,
        "extrapolate": config.extrapolate,
        "missing_inputs": config.missing_inputs,
        "table": config.population,
    }
