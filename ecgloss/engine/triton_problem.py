"""Words of the ops to what the Triton kernels are compiled for and told, and the passes of one kind."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ecgloss.engine.kernel_package import kernels_module
from ecgloss.engine.ops import ALIGNMENTS
from ecgloss.pairs import WEIGHT_NORMS
from ecgloss.pairs.encoding import Kind, RuleCode, RuleNumbers

MOST_RECORDED = 1000  # kinds of passes; one is a few kilobytes

Words = tuple[RuleCode, RuleNumbers, list[int], int, list[float]]  # the last: layout, alignment, term weights
_RECORDED: dict[tuple[Any, ...], Any] = {}


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
        sizes: As :func:`ecgloss.engine.ops.sizes_of` has them.
        words: What the ops are told of the problem.
        wanted: Which gradients are asked for, and in which dtypes.
    """
    code, numbers, layout, alignment, term_weights = words
    problems = kernels_module("problem")
    tau = problems.read_temperature(temperature)
    fixed = not Kind(code.kind).has_many_positives and problems.has_fixed_maximum(_norm(code), numbers.alpha, tau)
    key = (
        name,
        where.device,
        where.dtype == torch.float32 and kernels_module("machine").tf32_allowed(),
        fixed,
        *sizes,
        *wanted,
        *code,
        *numbers,
        alignment,
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
    code, numbers, layout, alignment, term_weights = words
    square, positive, *excluded = layout
    return kernels_module("problem").Problem(
        rule=_rule(code, numbers, side[2], side[3]),
        n=sizes[0],
        m=sizes[2],
        square=bool(square),
        excluded=tuple(excluded),
        positive=None if positive < 0 else positive,
        fixed=fixed,
        similarity=ALIGNMENTS[alignment] or "",
        alpha=numbers.alpha,
        threshold=numbers.threshold,
        samples=code.samples,
        term_weights=tuple(term_weights),
    )


def _norm(code: RuleCode) -> str:
    """What is done to the weights of the negatives."""
    return WEIGHT_NORMS[code.norm] if code.kind == Kind.RISK else "uniform"


def _rule(code: RuleCode, numbers: RuleNumbers, missing: Tensor | None, labels: Tensor | None) -> Any:
    forms = kernels_module("forms")
    if code.kind == Kind.UNIFORM:
        return forms.Weights()
    if code.kind == Kind.RISK:
        reliability = "none" if missing is None else "revert" if code.revert else "multiply"
        unknown, clip = not code.unknown_is_zero, numbers.fixed_scale > 0
        return forms.Weights(_norm(code), code.width, code.power, unknown, clip, reliability)
    if code.kind == Kind.LABELS:
        return forms.Relation("labels")
    if code.kind == Kind.FEATURES:
        return forms.Relation("features", code.width, labels is not None, bool(code.overlap))
    return forms.Relation("gaussian", code.width)
