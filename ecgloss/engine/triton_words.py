"""Words of the ops to what the Triton kernels are compiled for and told, and the passes of one kind."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ecgloss.engine.description import SIMILARITIES
from ecgloss.engine.kernel_modules import kernels_module
from ecgloss.pairs import WEIGHT_NORMS, RiskPairs, Rule

MOST_EXCLUDED = 2  # shifts a tile checks for
MOST_RECORDED = 1000  # kinds of passes; one is a few kilobytes

Words = tuple[list[int], list[float], list[int], int, list[float]]  # rule, numbers, layout, similarity, term weights
_RECORDED: dict[tuple[Any, ...], Any] = {}


def takes(rule: Rule) -> bool:
    """Whether a tile can tell which pairs a rule excludes."""
    layout = rule.layout
    shifts = {*layout.excluded, layout.positive} - {None}
    if isinstance(rule, RiskPairs) and layout.square:  # W is 0 where a pair is excluded, and only there
        samples = rule.weights.n_samples
        if shifts != set(range(0, layout.n_rows, samples)):
            return False
    return len(shifts) <= MOST_EXCLUDED and (not shifts or layout.n_rows <= layout.n_columns)


def begin(
    name: str,
    where: Tensor,
    embeddings: tuple[Tensor | None, ...],
    side: tuple[Tensor | None, ...],
    temperature: Tensor,
    sizes: list[int],
    words: Words,
    wanted: tuple[Any, ...] = (),
) -> Any:
    """A pass over tensors, recorded with those of its kind: all that a launch depends on is part of the key.

    Args:
        name: "forward" or "backward".
        where: A tensor where the kernels run.
        embeddings: Tensors of the pass, whose shapes, dtypes and alignments kernels are compiled for.
        side: values, column_values, missing, row_labels, column_labels: as the ops have them.
        temperature: 0-d.
        sizes: As :func:`ecgloss.engine.cpp_kernels.sizes_of` has them.
        words: What the ops are told of the problem.
        wanted: Which gradients are asked for, and in which dtypes.
    """
    rule, numbers, layout, similarity, term_weights = words
    problems = kernels_module("problem")
    tau = problems.read_temperature(temperature)
    fixed = rule[0] < 2 and problems.has_fixed_maximum(_norm(rule), numbers[0], tau)
    key = (
        name,
        where.device,
        where.dtype == torch.float32 and kernels_module("machine").tf32_allowed(),
        fixed,
        *sizes,
        *wanted,
        *rule,
        *numbers,
        similarity,
        *term_weights,
        *layout,
        *(_kind(x) for x in (*embeddings, *side, tau[0])),
    )
    recording = _RECORDED.get(key)
    if recording is None:
        if len(_RECORDED) >= MOST_RECORDED:
            _RECORDED.clear()
        _RECORDED[key] = recording = kernels_module("passes").Recording(_problem(side, sizes, words, fixed))
    return kernels_module("passes").Pass(recording, tau)


def _kind(x: Tensor | None) -> tuple[Any, ...] | None:
    """What a compiled kernel depends on: Triton tells pointers apart by whether they are multiples of 16."""
    return None if x is None else (x.dtype, x.shape, x.stride(), x.data_ptr() % 16 == 0)


def _problem(side: tuple[Tensor | None, ...], sizes: list[int], words: Words, fixed: bool) -> Any:
    """What the kernels are compiled for and told."""
    rule, numbers, layout, similarity, term_weights = words
    square, positive, *excluded = layout
    return kernels_module("problem").Problem(
        rule=_rule(rule, numbers, side[2], side[3]),
        n=sizes[0],
        m=sizes[2],
        square=bool(square),
        excluded=tuple(excluded),
        positive=None if positive < 0 else positive,
        fixed=fixed,
        similarity=("", *SIMILARITIES[1:])[similarity],
        alpha=numbers[0],
        threshold=numbers[2],
        samples=rule[6],
        term_weights=tuple(term_weights),
    )


def _norm(rule: list[int]) -> str:
    """What is done to the weights of the negatives."""
    return WEIGHT_NORMS[rule[1]] if rule[0] == 1 else "uniform"


def _rule(rule: list[int], numbers: list[float], missing: Tensor | None, labels: Tensor | None) -> Any:
    forms = kernels_module("forms")
    kind, _, absolute, zero, revert, overlap, _, width = rule
    if kind == 0:
        return forms.Weights()
    if kind == 1:
        reliability = "none" if missing is None else "revert" if revert else "multiply"
        return forms.Weights(_norm(rule), width, 2 - absolute, not zero, numbers[1] > 0, reliability)
    if kind == 2:
        return forms.Relation("labels")
    if kind == 3:
        return forms.Relation("features", width, labels is not None, bool(overlap))
    return forms.Relation("gaussian", width)
