"""The commands of the command line: their options and actions. Heavy modules are imported only when a command runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecgloss._file_errors import FileError
from ecgloss._words import counted
from ecgloss.run_files import belongs_to_a_run
from ecgloss.usage import UsageError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

DATA_HELP = (
    "Folder of WFDB records or of a converted cache, a file (.npy, .npz, .h5, .mat, .edf, .bdf, .csv, .tsv) or a "
    "folder of such, or synthetic[:N[:SEED]] (simulated)."
)
CACHE_HELP = "Folder of converted caches (default: $ECGLOSS_CACHE or ~/.cache/ecgloss)."
REGION_HELP = "SCORE2 risk region of the patients' country, for the task risk."


def _new(jsonargparse: Any, description: str, example: str) -> ArgumentParser:
    """A parser for one command whose help ends with an example."""
    parser: ArgumentParser = jsonargparse.ArgumentParser(
        description=f"{description} Example: {example}", exit_on_error=False, allow_abbrev=False
    )
    return parser


def _pretrain_parser(jsonargparse: Any) -> ArgumentParser:
    from typing import Literal

    from ecgloss.train.config import PretrainConfig
    from ecgloss.train.methods import METHODS, list_methods
    from ecgloss.train.recipes import RECIPES

    parser = _new(
        jsonargparse,
        "Pretrain an encoder.",
        "ecgloss pretrain --data synthetic --loss clef --epochs 10 --sampling_rate 100 --out runs/first",
    )
    parser.add_argument("--config", action="config", help="YAML file that may set any of these options.")
    recipes = "; ".join(f"{recipe.name}: {recipe.what}" for recipe in RECIPES.values())
    parser.add_argument(
        "--recipe",
        type=str,
        default=None,
        help=f"Named settings, which options that are given replace. {recipes}.",
    )
    parser.add_argument(
        "--resume", type=str, default=None, help="Run to continue; takes no other options (but --model)."
    )
    parser.add_argument("--data", type=str, default=None, help=DATA_HELP)
    parser.add_argument("--out", type=str, default=None, help="Folder for the run (default: runs/DATA-LOSS).")
    _add_leads(parser)
    loss = Literal[tuple(METHODS)]  # type: ignore[valid-type]
    parser.add_argument("--loss", type=loss, default=PretrainConfig.loss, help=f"The method: {list_methods()}.")
    for group in PretrainConfig.groups():  # each resolves the names of its types in its own module
        parser.add_class_arguments(group, skip={"data", "out", "leads", "loss"}, as_group=False)
    return parser


def _pretrain(config: Namespace) -> int:
    from ecgloss.models.encoder import is_factory
    from ecgloss.models.pretrained import random_encoder
    from ecgloss.train.config import PretrainConfig
    from ecgloss.train.pretrain import pretrain
    from ecgloss.train.recipes import RECIPES
    from ecgloss.train.run import resume_config

    given = _options(config)
    resume, recipe = given.pop("resume"), given.pop("recipe")
    if resume is not None:
        settings = resume_config(resume)
        if is_factory(settings.model) and given["model"] != settings.model:
            raise UsageError(
                f"the run trains {settings.model}; name it as well to let its code run: "
                f"--resume {resume} --model {settings.model}"
            )
    elif given["data"] is None:
        raise UsageError("pretrain needs --data (a folder of WFDB records, or synthetic), or --resume RUN")
    else:
        if given["out"] is None:
            given["out"] = f"runs/{Path(given['data']).resolve().name.replace(':', '-')}-{given['loss']}"
        try:
            settings = PretrainConfig.from_json(given)  # bad values show here, before anything is read or written
            _ = settings.preprocessing
            if is_factory(settings.model):
                random_encoder(settings.model, settings.in_channels, settings.seed, settings.window)
        except ValueError as error:
            raise UsageError(str(error)) from error
    if recipe is not None and os.environ.get("LOCAL_RANK", "0") == "0":  # once, where several processes train
        for sentence in RECIPES[recipe].differs:
            print(f"{recipe}: {sentence}", file=sys.stderr)
    try:
        result = pretrain(settings, resume=resume is not None)
    except FileError as error:
        then = f", then continue with --resume {settings.out}" if (Path(settings.out) / "config.json").is_file() else ""
        raise FileError(error.errno, f"{error}{then}") from error
    if result.rank > 0:
        return 0
    _say_skipped(result.dataset)
    print(f"{counted(result.steps, 'step')}; checkpoint {result.checkpoint}")
    return 0


def apply_recipe(options: Namespace, given: Namespace) -> None:
    """Replace the defaults of a recipe's options; those that were given stay."""
    from ecgloss.train.recipes import RECIPES

    if options.recipe not in RECIPES:
        raise UsageError(f"--recipe must be one of {', '.join(RECIPES)}; got {options.recipe}")
    for name, value in RECIPES[options.recipe].options.items():
        if name not in given:
            options[name] = value


def refuse_empty(options: Namespace) -> None:
    """Refuse empty paths: an unset shell variable must not stand for the current folder."""
    for name in ("data", "out", "checkpoint", "resume", "table", "split"):
        if options.get(name) == "":
            raise UsageError(f"--{name} is empty")


def _refuse_run_file(out: str | None) -> None:
    """Refuse to write over what belongs to a run."""
    if out is not None and belongs_to_a_run(out):
        raise UsageError(f"--out {out} belongs to a training run, which would be damaged; choose another name")


def _embed_parser(jsonargparse: Any) -> ArgumentParser:
    parser = _new(
        jsonargparse,
        "Write the embeddings of recordings to a Parquet file.",
        "ecgloss embed --checkpoint runs/first --data synthetic --out first.parquet",
    )
    _add_checkpoint_options(parser)
    parser.add_argument("--out", type=str, required=True, help="Parquet file to write.")
    return parser


def _embed(config: Namespace) -> int:
    import numpy as np

    from ecgloss.data.opening import open_dataset
    from ecgloss.data.preprocess import Preprocessing
    from ecgloss.evaluate.embed import embed, lead_to_embed, rows_with_leads, write_embeddings
    from ecgloss.models.pretrained import load_encoder, several_leads

    if Path(config.out).is_dir():
        raise UsageError(f"--out {config.out} is a folder; give the name of a Parquet file")
    _refuse_run_file(config.out)
    _check_device(config.device)
    model, card = load_encoder(config.checkpoint, config.model)
    leads = several_leads(card, config.lead)
    dataset = open_dataset(
        config.data,
        preprocessing=Preprocessing.from_json(card.preprocessing),
        cache_dir=config.cache,
        **_source_options(config).for_opening(),
    )
    _say_notes(dataset)
    lead, chosen = lead_to_embed(dataset, config.lead) if leads is None else ("I", "")
    if chosen:
        print(chosen, file=sys.stderr)
    rows, left_out = rows_with_leads(dataset, np.arange(len(dataset)), lead, leads)
    embeddings = embed(model, dataset, lead=lead, leads=leads, seconds=card.seconds, rows=rows, device=config.device)
    write_embeddings(config.out, dataset, embeddings, rows.tolist())
    _say_skipped(dataset)
    if left_out:
        print(left_out, file=sys.stderr)
    print(f"{counted(len(embeddings), 'embedding')} of width {embeddings.shape[1]}: {config.out}")
    return 0


def _evaluate_parser(jsonargparse: Any) -> ArgumentParser:
    from typing import Literal

    parser = _new(
        jsonargparse,
        "Evaluate a frozen encoder on a task with a linear probe, next to a random encoder of the same shape.",
        "ecgloss evaluate --checkpoint runs/first --data synthetic --task hypertrophy",
    )
    _add_checkpoint_options(parser)
    task = "Task of the data, risk, or single_beats (CPSC 2020, MIT-BIH); an unknown one lists those of the data."
    parser.add_argument("--task", type=str, required=True, help=task)
    parser.add_argument("--protocol", type=Literal["linear"], default="linear", help="Protocol: a linear probe.")
    parser.add_argument("--label_fraction", type=float, default=1.0, help="Fraction of training labels to use.")
    region = Literal["low", "moderate", "high", "very_high"]
    parser.add_argument("--region", type=region, default="moderate", help=REGION_HELP)
    parser.add_argument("--seed", type=int, default=0, help="Seed of label subsets, bootstrap and random encoder.")
    parser.add_argument("--out", type=str, default=None, help="Folder for results.json and report.html.")
    return parser


def _evaluate(config: Namespace) -> int:
    from ecgloss.evaluate.evaluation import evaluate_linear
    from ecgloss.evaluate.report import evaluation_report
    from ecgloss.evaluate.tasks import SINGLE_BEATS

    if not 0 < config.label_fraction <= 1:
        raise UsageError(f"--label_fraction must lie in (0, 1]; got {config.label_fraction}")
    if config.seed < 0:
        raise UsageError(f"--seed must be at least 0; got {config.seed}")
    if config.out is not None and Path(config.out).is_file():
        raise UsageError(f"--out {config.out} is a file; give the name of a folder")
    if config.out is not None:
        _refuse_run_file(str(Path(config.out) / "results.json"))
    _check_device(config.device)
    if config.task == SINGLE_BEATS:
        return _evaluate_beats(config)
    evaluation = evaluate_linear(
        config.checkpoint,
        config.data,
        task=config.task,
        lead=config.lead,
        model=config.model,
        label_fraction=config.label_fraction,
        region=config.region,
        seed=config.seed,
        cache_dir=config.cache,
        device=config.device,
        source=_source_options(config),
    )
    report = None
    if config.out is not None:  # on disk before they are printed
        evaluation.save(Path(config.out) / "results.json")
        report = evaluation_report(Path(config.out) / "report.html", evaluation)
    _say_notes(evaluation.dataset)
    print(evaluation)
    _say_skipped(evaluation.dataset)
    if report is not None:
        print(f"report: {report}")
    return 0


def _evaluate_beats(config: Namespace) -> int:
    from ecgloss.evaluate.beat_evaluation import evaluate_beats
    from ecgloss.evaluate.report import beat_report
    from ecgloss.evaluate.tasks import SINGLE_BEATS

    given = [name for name, value in vars(_source_options(config)).items() if value is not None]
    if given:
        raise UsageError(f"--{given[0]} does not apply to the task {SINGLE_BEATS}, which reads whole records")
    evaluation = evaluate_beats(
        config.checkpoint,
        config.data,
        lead=config.lead,
        model=config.model,
        label_fraction=config.label_fraction,
        seed=config.seed,
        device=config.device,
    )
    report = None
    if config.out is not None:  # on disk before they are printed
        evaluation.save(Path(config.out) / "results.json")
        report = beat_report(Path(config.out) / "report.html", evaluation)
    _say_notes(evaluation)
    print(evaluation)
    for record in evaluation.skipped:
        print(f"skipped {record}", file=sys.stderr)
    if report is not None:
        print(f"report: {report}")
    return 0


def _cache_parser(jsonargparse: Any) -> ArgumentParser:
    parser = _new(
        jsonargparse,
        "Convert recordings once, into a folder that can be used as --data.",
        "ecgloss cache --data path/to/ptb-xl --out ptb-xl-100hz --sampling_rate 100",
    )
    parser.add_argument("--data", type=str, required=True, help=DATA_HELP)
    parser.add_argument("--out", type=str, required=True, help="Folder to create; new or empty.")
    _add_leads(parser)
    _add_signal_options(parser)
    _add_preprocessing(parser)
    return parser


def _cache(config: Namespace) -> int:
    from ecgloss.data.conversion import convert
    from ecgloss.data.dataset import EcgDataset

    options = _options(config)
    source, out, signals = options.pop("data"), options.pop("out"), _signal_options(options)
    convert(source, out, preprocessing=_preprocessing(options), signals=signals)
    dataset = EcgDataset(out)
    _say_skipped(dataset)
    print(f"{counted(len(dataset), 'recording')}: {out}")
    return 0


def _features_parser(jsonargparse: Any) -> ArgumentParser:
    parser = _new(
        jsonargparse,
        "Find the waves of every recording, and write their marks and 150 features to a Parquet file.",
        "ecgloss features --data path/to/ludb --out features.parquet",
    )
    parser.add_argument("--data", type=str, required=True, help=DATA_HELP)
    parser.add_argument("--out", type=str, required=True, help="Parquet file to write.")
    parser.add_argument(
        "--lead", type=str, default=None, help="Lead to measure (default: II, or a recording's next best)."
    )
    parser.add_argument("--workers", type=int, default=0, help="Processes that compute; 0: this one alone.")
    parser.add_argument("--cache", type=str, default=None, help=CACHE_HELP)
    _add_leads(parser)
    _add_signal_options(parser)
    _add_preprocessing(parser)
    return parser


def _features(config: Namespace) -> int:
    from ecgloss.data.opening import open_dataset
    from ecgloss.physiology import feature_table, physiology_of, write_physiology

    options = _options(config)
    source, out, lead, workers, cache = (options.pop(name) for name in ("data", "out", "lead", "workers", "cache"))
    signals = _signal_options(options)
    if Path(out).is_dir():
        raise UsageError(f"--out {out} is a folder; give the name of a Parquet file")
    _refuse_run_file(out)
    if workers < 0:
        raise UsageError(f"--workers must be at least 0; got {workers}")
    preprocessing = _preprocessing(options)
    dataset = open_dataset(source, preprocessing=preprocessing, cache_dir=cache, **vars(signals))
    found = physiology_of(dataset, lead=lead, workers=workers)
    write_physiology(out, dataset, found)
    _say_skipped(dataset)
    for reason, count in found.failures().most_common():
        print(f"{reason}: in {count} of {len(found)} recordings", file=sys.stderr)
    print(f"{len(feature_table())} features of {counted(len(found), 'recording')}: {out}")
    return 0


def _risk_parser(jsonargparse: Any) -> ArgumentParser:
    from ecgloss.risk_command import add_options

    parser = _new(
        jsonargparse,
        "Compute the clinical risk of every patient of a table, or check that a table belongs to its recordings.",
        "ecgloss risk --table patients.csv --out risk.csv --score auto --country Germany",
    )
    add_options(parser)
    return parser


def _risk(config: Namespace) -> int:
    from ecgloss import risk_command

    wrong = risk_command.refuse(config)
    if wrong is not None:
        raise UsageError(wrong)
    return risk_command.run(config)


def _data_parser(jsonargparse: Any) -> ArgumentParser:
    parser = _new(
        jsonargparse,
        "List the databases that have a card, or show everything that is known of one.",
        "ecgloss data describe ptbxl",
    )
    parser.add_argument("action", type=str, nargs="?", help="list: a line each; describe: one in full.")
    parser.add_argument("name", type=str, nargs="?", help="Database to describe, as list shows it.")
    return parser


def _data(config: Namespace) -> int:
    from ecgloss.data.cards import CARDS
    from ecgloss.data.cards.describe import describe, table_of

    action, name = config.action, config.name
    names = [card.name for card in CARDS]
    if action == "list" and name is None:
        print(table_of(CARDS))
        return 0
    if action == "list":
        raise UsageError(f"data list takes no name, got {name!r}; use: ecgloss data describe {name}")
    if action != "describe":
        given = "nothing" if action is None else repr(action)
        raise UsageError(f"data needs list, or describe and the name of a database; got {given}")
    if name not in names:
        what = "data describe needs a name" if name is None else f"no database is called {name!r}"
        raise UsageError(f"{what}; choose one of {', '.join(names)}")
    print(describe(CARDS[names.index(name)]))
    return 0


def _info_parser(jsonargparse: Any) -> ArgumentParser:
    return _new(jsonargparse, "Show what is installed and usable on this machine.", "ecgloss info")


def show_info(_: Any) -> int:
    """Print what is installed and usable; takes no options."""
    from ecgloss.info import describe

    print(describe())
    return 0


def _add_checkpoint_options(parser: ArgumentParser) -> None:
    """The options that embed and evaluate share."""
    parser.add_argument("--checkpoint", type=str, required=True, help="Run (its newest checkpoint) or one checkpoint.")
    parser.add_argument("--data", type=str, required=True, help=DATA_HELP)
    parser.add_argument(
        "--lead", type=str, default=None, help='Lead to embed (default: I, or the commonest), or "all".'
    )
    _add_source_options(parser)
    parser.add_argument("--model", type=str, default=None, help="The encoder, where it is a package.module:factory.")
    parser.add_argument("--cache", type=str, default=None, help=CACHE_HELP)
    parser.add_argument("--device", type=str, default="cpu", help="Device that computes the embeddings, e.g. cuda.")


def _add_source_options(parser: ArgumentParser) -> None:
    """A table to join, and what must be said about own files."""
    from ecgloss.data.opening import SourceOptions

    parser.add_class_arguments(SourceOptions, skip={"leads"}, as_group=False)
    parser.add_argument(
        "--leads", type=str, default=None, help="Names of the rows of an array, or channels to take, e.g. I,II,V5."
    )


def _add_signal_options(parser: ArgumentParser) -> None:
    """What must be said about own files besides their leads."""
    from ecgloss.data.files import SignalOptions

    parser.add_class_arguments(SignalOptions, skip={"leads"}, as_group=False)


def _signal_options(options: dict[str, Any]) -> Any:
    """What was said about own files, taken out of the options; their leads are those of the preprocessing."""
    from ecgloss.data.files import SignalOptions

    return SignalOptions(**{name: options.pop(name) for name in ("units", "source_rate", "dataset_name")})


def _source_options(config: Namespace) -> Any:
    """What was said about the source."""
    from dataclasses import fields

    from ecgloss.data.opening import SourceOptions

    given = {field.name: config[field.name] for field in fields(SourceOptions)}
    if config.leads is not None:
        given["leads"] = tuple(lead.strip() for lead in config.leads.split(",") if lead.strip())
    return SourceOptions(**given)


def _add_preprocessing(parser: ArgumentParser) -> None:
    """Options of what is done to signals before they are stored; leads are an option of their own."""
    from ecgloss.data.preprocess import Preprocessing

    parser.add_class_arguments(Preprocessing, skip={"leads", "normalisation", "scale_mv"}, as_group=False)


def _preprocessing(options: dict[str, Any]) -> Any:
    """The preprocessing that the options left ask for."""
    from ecgloss.data.preprocess import Preprocessing

    try:
        return Preprocessing.from_json(options)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _say_notes(dataset: Any) -> None:
    """Print to stderr how a table was joined."""
    for note in dataset.notes:
        print(note, file=sys.stderr)


def _add_leads(parser: ArgumentParser) -> None:
    """The option --leads, a list with commas."""
    parser.add_argument("--leads", type=str, default=None, help="Leads to keep, e.g. I,II,V5 (default: all).")


def _options(config: Namespace) -> dict[str, Any]:
    """Parsed options as plain values, with leads as a list."""
    given: dict[str, Any] = config.as_dict()
    for name in ("config", "debug"):
        given.pop(name, None)
    if given["leads"] is not None:
        given["leads"] = [lead.strip() for lead in given["leads"].split(",") if lead.strip()]
    return given


def _check_device(name: str) -> None:
    """Check a device before any work; torch would fail later, with a message of many lines."""
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].split(":")[0]
        raise UsageError(f"--device {name} cannot be used here ({reason})") from error


def _say_skipped(dataset: Any) -> None:
    """Print to stderr which records could not be used, and why, and which channels were left out."""
    if dataset.left_out:
        found = ", ".join(f"{name} (in {count} records)" for name, count in list(dataset.left_out.items())[:8])
        print(
            f"left out, because they are no ECG leads: {found}; --leads NAME,... takes those in volts", file=sys.stderr
        )
    if not dataset.skipped:
        return
    print(f"skipped {len(dataset.skipped)} of {len(dataset) + len(dataset.skipped)} records:", file=sys.stderr)
    for record in dataset.skipped[:20]:
        print(f"  {record.name}: {record.reason}", file=sys.stderr)
    if len(dataset.skipped) > 20:
        print(f"  and {len(dataset.skipped) - 20} more", file=sys.stderr)


COMMANDS: dict[str, tuple[Callable[[Any], ArgumentParser], Callable[[Any], int]]] = {
    "pretrain": (_pretrain_parser, _pretrain),
    "embed": (_embed_parser, _embed),
    "evaluate": (_evaluate_parser, _evaluate),
    "cache": (_cache_parser, _cache),
    "features": (_features_parser, _features),
    "risk": (_risk_parser, _risk),
    "data": (_data_parser, _data),
    "info": (_info_parser, show_info),
}
