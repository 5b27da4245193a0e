"""Decode the ops' integer arguments into a ``TritonProblem``; cache the launch sequence per argument signature."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ecgloss.engine.kernel_package import kernels_module
from ecgloss.engine.ops import ALIGNMENTS
from ecgloss.pairs import WEIGHT_NORMS
from ecgloss.pairs.encoding import Kind, RuleCode, RuleNumbers, Side

device, launch_cache = kernels_module("device"), kernels_module("launch_cache")
launch_gluon = kernels_module("launch_gluon")
memory_layout, problem = kernels_module("memory_layout"), kernels_module("problem")

MOST_SEQUENCES = 1000  # launch sequences that are kept, of a few kilobytes each
_SEQUENCES: dict[tuple[Any, ...], Any] = {}


class RuleArguments(NamedTuple):
    """The op's arguments that describe a rule and the loss, in its order.

    Attributes:
        code: Integers of the rule.
        numbers: Floating-point parameters of the rule.
        layout: From :func:`ecgloss.pairs.encoding.encode_layout`.
        alignment: Index in :data:`ecgloss.engine.ops.ALIGNMENTS`.
        term_weights: Weights of the contrastive and the alignment term in the loss.
    """

    code: RuleCode
    numbers: RuleNumbers
    layout: list[int]
    alignment: int
    term_weights: list[float]

    @classmethod
    def of(
        cls, code: list[int], numbers: list[float], layout: list[int], alignment: int, term_weights: list[float]
    ) -> RuleArguments:
        """From the plain lists of the op."""
        return cls(RuleCode(*code), RuleNumbers(*numbers), layout, alignment, term_weights)

    @property
    def norm(self) -> str:
        """How omega follows from W; "uniform" without W."""
        return WEIGHT_NORMS[self.code.norm] if self.code.kind == Kind.RISK else "uniform"


def begin_pass(
    name: str,
    where: Tensor,
    embeddings: tuple[Tensor | None, ...],
    side: Side,
    temperature: Tensor,
    sizes: list[int],
    rule: RuleArguments,
    wanted: tuple[Any, ...] = (),
) -> Any:
    """A pass, with the launch sequence of its kind: the key holds everything that decides which kernels are launched.

    Args:
        name: "forward" or "backward".
        where: A tensor on the device of the kernels, of the dtype of the products.
        embeddings: Tensors of the pass; kernels are compiled for their dtypes, shapes and alignments.
        side: Side information.
        temperature: 0-d.
        sizes: From :func:`ecgloss.engine.ops.sizes_of`.
        rule: The rule.
        wanted: Dtypes of the gradients, and which of them are computed.
    """
    tau = problem.read_temperature(temperature)
    unbounded = rule.code.kind == Kind.GAUSSIAN  # weights as small as one likes
    fixed_maximum = not unbounded and problem.has_fixed_maximum(rule.norm, rule.numbers.alpha, tau)
    key = (
        name,
        where.device,
        where.dtype == torch.float32 and device.tf32_allowed(),
        launch_gluon.is_asked_for(),
        fixed_maximum,
        *sizes,
        *wanted,
        *rule.code,
        *rule.numbers,
        rule.alignment,
        *rule.term_weights,
        *rule.layout,
        *(_signature(x) for x in (*embeddings, *side, tau[0])),
    )
    sequence = _SEQUENCES.get(key)
    if sequence is None:
        if len(_SEQUENCES) >= MOST_SEQUENCES:
            _SEQUENCES.clear()
        _SEQUENCES[key] = sequence = launch_cache.LaunchSequence(_problem(side, sizes, rule, fixed_maximum))
    return launch_cache.Pass(sequence, tau)


def _signature(x: Tensor | None) -> tuple[Any, ...] | None:
    """What a compiled kernel depends on; Triton distinguishes pointers by whether they are multiples of 16."""
    return None if x is None else (x.dtype, x.shape, x.stride(), x.data_ptr() % 16 == 0)


def _problem(side: Side, sizes: list[int], rule: RuleArguments, fixed_maximum: bool) -> Any:
    """The problem that kernels are compiled and launched for."""
    square, positive, *excluded = rule.layout
    return problem.TritonProblem(
        rule=_rule(rule, side),
        n=sizes[0],
        m=sizes[2],
        square=bool(square),
        excluded=tuple(excluded),
        positive=None if positive < 0 else positive,
        fixed_maximum=fixed_maximum,
        alignment=ALIGNMENTS[rule.alignment] or "",
        alpha=rule.numbers.alpha,
        threshold=rule.numbers.threshold,
        samples=rule.code.samples,
        term_weights=tuple(rule.term_weights),
    )


def _rule(rule: RuleArguments, side: Side) -> Any:
    """The constants of the rule that kernels are compiled for."""
    code, numbers = rule.code, rule.numbers
    if code.kind == Kind.UNIFORM:
        return memory_layout.Weights()
    if code.kind == Kind.RISK:
        return memory_layout.Weights(
            norm=rule.norm,
            risks=code.width,
            power=code.power,
            unknown=not code.unknown_is_zero,
            clip=numbers.fixed_scale > 0,
            reliability="none" if side.missing is None else "revert" if code.revert else "multiply",
        )
    if code.kind == Kind.LABELS:
        return memory_layout.Relation("labels")
    if code.kind == Kind.FEATURES:
        labelled = side.row_labels is not None
        width = kernels_module("prepare_features").padded_features(code.width)
        return memory_layout.Relation("features", width, labelled=labelled, overlap=bool(code.overlap))
    return memory_layout.Relation("gaussian", code.width)
