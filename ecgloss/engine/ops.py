"""torch.library ops of the C++ and Triton kernels, one per pass: ``ecgloss::pair_stats`` and ``pair_stats_backward``.

The dispatch key chooses the engine: CPU tensors go to C++ (to Triton where its interpreter is on), CUDA tensors to
Triton. Both ops have fake kernels, so that torch.compile sees shapes only; the forward has an autograd formula, and the
gradient of a gradient is that of the definition (:mod:`.higher_order`). Embeddings are normalised inside; ``q2`` holds
further rows of q, so that two views need no copy. The arguments that describe a rule are those of
:mod:`ecgloss.pairs.encoding`.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

import torch
from torch import Tensor

from ecgloss._transforms import is_watched
from ecgloss.engine import availability, op_checks
from ecgloss.engine.higher_order import differentiable_gradients, inputs_to_save, needs_graph, saved_inputs
from ecgloss.engine.reference import embedding_statistics
from ecgloss.engine.stats import PairStats
from ecgloss.pairs import Rule
from ecgloss.pairs.decoding import decode, decode_layout
from ecgloss.pairs.encoding import RuleCode, RuleNumbers, Side, encode_layout

SIDE = len(Side._fields)
ALIGNMENTS = (None, "cosine", "minmax")  # numbered as in csrc/problem.h

_RULE = (
    "Tensor? values, Tensor? column_values, Tensor? missing, Tensor? row_labels, Tensor? column_labels, "
    "SymInt[] code, float[] numbers, SymInt[] layout, int alignment, float[] term_weights"
)
_LIBRARY = torch.library.Library("ecgloss", "DEF")
_LIBRARY.define(
    f"pair_stats(Tensor q, Tensor? q2, Tensor? k, Tensor temperature, {_RULE}) -> ({', '.join(['Tensor'] * 6)})"
)
_LIBRARY.define(
    "pair_stats_backward(Tensor? g_loss, Tensor? g_contrastive, Tensor? g_alignment, Tensor? g_rows, "
    f"Tensor packed, Tensor saved, Tensor temperature, {_RULE}, SymInt[] sizes, "
    "str q_dtype, str k_dtype, bool[] wanted) -> (Tensor, Tensor, Tensor, Tensor)"
)


def pair_stats(
    engine: str,
    q: Tensor,
    q2: Tensor | None,
    k: Tensor | None,
    temperature: float | Tensor,
    rule: Rule,
    alignment: str | None,
    term_weights: tuple[float, float],
) -> PairStats:
    """Statistics of embeddings that are not normalised, rows of q and then of q2, by the engine "cpp" or "triton"."""
    tau = temperature if isinstance(temperature, Tensor) else _constant(temperature)
    if tau.is_cuda and q.is_cuda:
        tau = tau.to(q.device)  # kernels read it where they run
    code, numbers, side = rule.encode(torch.float64 if engine == "cpp" else torch.float32)
    problem = (code, numbers, encode_layout(rule.layout), ALIGNMENTS.index(alignment), term_weights)
    loss, contrastive, aligned, rows, _, _ = run(engine, q, q2, k, tau, *side, *problem)
    asked = None if alignment is None else aligned
    if rule.layout.positive is None:
        return PairStats(rows, asked)
    return PairStats(rows, asked, contrastive, term_weights, loss)


def run(
    engine: str, q: Tensor, q2: Tensor | None, k: Tensor | None, temperature: Tensor, *rest: Any
) -> tuple[Tensor, ...]:
    """The forward op with its gradient, by the shortest way.

    Returns:
        loss = w_0 L_w + w_1 L_d with the term weights w, L_w, L_d (0-d); rows (4, N): positive_sum, positive_lse,
        positive_count, negative_lse; and two buffers the backward needs: embeddings as the engine holds them, and
        numbers of the rows and of the batch.
    """
    outputs: tuple[Tensor, ...]
    if torch.compiler.is_compiling():
        outputs = _FORWARD(q, q2, k, temperature, *rest)
    else:
        outputs = _differentiable(engine, q, q2, k, temperature, *rest)
    return outputs


def sizes_of(q: Tensor, q2: Tensor | None, k: Tensor | None) -> list[int]:
    """Rows of q with q2, of q alone, of k (of q where k is q), and the width."""
    n = q.shape[0] if q2 is None else q.shape[0] + q2.shape[0]
    return [n, q.shape[0], n if k is None else k.shape[0], q.shape[1]]


@functools.cache
def dtype_name(dtype: torch.dtype) -> str:
    """Its name in an op's arguments: torch takes a dtype's number there, and crashes where it is none."""
    return str(dtype).removeprefix("torch.")


@functools.cache
def dtype_of(name: str) -> torch.dtype:
    """The floating-point dtype of a name.

    Raises:
        ValueError: If it is none.

    Example:
        >>> dtype_of(dtype_name(torch.bfloat16))
        torch.bfloat16
    """
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"q_dtype and k_dtype must name floating-point dtypes; got {name!r}")
    return dtype


def _constant(x: float) -> Tensor:
    """x as a 0-d tensor on the host; the same tensor every time, which must not be written to."""
    if is_watched():
        return torch.full((), x, dtype=torch.float64, device="cpu")
    constant = _CONSTANTS.get(x)
    if constant is None:
        if len(_CONSTANTS) > 100:  # a schedule's values are used once each
            _CONSTANTS.clear()
        with torch.inference_mode(False):  # an inference tensor could not be saved for a backward pass later on
            _CONSTANTS[x] = constant = torch.full((), x, dtype=torch.float64, device="cpu")
    return constant


_CONSTANTS: dict[float, Tensor] = {}


def _differentiable(
    engine: str, q: Tensor, q2: Tensor | None, k: Tensor | None, temperature: Tensor, *rest: Any
) -> Any:
    if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (q, q2, k, temperature)):
        return _PairStats.apply(q, q2, k, temperature, rest, engine)
    return _below_autograd(_FORWARD, _module(engine).forward, q, q2, k, temperature, *rest)


def _below_autograd(op: Any, implementation: Any, *arguments: Any) -> Any:
    """An op without its autograd formula; its implementation alone, unless a dispatch mode or tensor subclass watches.

    The dispatcher converts every argument, twice per step: 70 of 560 microseconds of a step of CLEF at N = 128,
    D = 256 (one thread).
    """
    if torch._C._len_torch_dispatch_stack() == 0 and all(type(x) in _PLAIN for x in arguments[:5]):
        return implementation(*arguments)
    with torch._C._AutoDispatchBelowAutograd():
        return op(*arguments)


_PLAIN = (Tensor, torch.nn.Parameter, type(None))


class _PairStats(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        q2: Tensor | None,
        k: Tensor | None,
        temperature: Tensor,
        rest: tuple[Any, ...],
        engine: str,
    ) -> Any:
        outputs = _below_autograd(_FORWARD, _module(engine).forward, q, q2, k, temperature, *rest)
        packed, saved = outputs[-2:]
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(packed, saved)
        # Side information is data without gradient, saved so that autograd notices where it is overwritten.
        ctx.save_for_backward(packed, saved, temperature, *rest[:SIDE], *inputs_to_save(ctx, q, q2, k))
        ctx.problem, ctx.engine = rest[SIDE:], engine
        ctx.sizes = sizes_of(q, q2, k)
        ctx.dtypes = (dtype_name(q.dtype), dtype_name(q.dtype if k is None else k.dtype))
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        wanted, tensors = ctx.needs_input_grad[:4], ctx.saved_tensors
        if needs_graph(*grads):
            n, _, m, _ = ctx.sizes
            side, inputs = Side(*tensors[3 : 3 + SIDE]), saved_inputs(ctx, tensors[3 + SIDE :])
            definition = functools.partial(_definition, side=side, problem=ctx.problem, n_rows=n, n_columns=m)
            return (*differentiable_gradients(definition, (*inputs, tensors[2]), wanted, grads[:4]), None, None)
        arguments = (*grads[:4], *tensors[: 3 + SIDE], *ctx.problem, ctx.sizes, *ctx.dtypes, wanted)
        gradients = _below_autograd(_BACKWARD, _module(ctx.engine).backward, *arguments)
        return (*(g if wants else None for g, wants in zip(gradients, wanted)), None, None)


def _definition(
    q: Tensor,
    q2: Tensor | None,
    k: Tensor | None,
    temperature: Tensor,
    side: Side,
    problem: tuple[Any, ...],
    n_rows: int,
    n_columns: int,
) -> tuple[Tensor | None, ...]:
    """What the forward op returns, without its buffers, in plain torch."""
    code, numbers, layout, alignment, term_weights = problem
    rule = decode(RuleCode(*code), RuleNumbers(*numbers), side, decode_layout(layout, n_rows, n_columns))
    stats = embedding_statistics(q, q2, k, temperature, rule, ALIGNMENTS[alignment], tuple(term_weights))
    return stats.fused_loss, stats.fused_contrastive, stats.alignment, torch.stack(tuple(stats.rows))


@functools.cache
def _module(engine: str) -> Any:
    """The module of an engine, imported when it is first used."""
    return importlib.import_module(f"ecgloss.engine.{engine}")


def _engine_of(x: Tensor) -> str:
    """The engine of a tensor's device."""
    return "triton" if x.is_cuda or availability.interpreted() else "cpp"


def _forward(q: Tensor, *rest: Any) -> Any:
    engine = _engine_of(q)
    _check_forward(engine, q, *rest)
    return _module(engine).forward(q, *rest)


def _autograd(q: Tensor, *rest: Any) -> Any:
    engine = _engine_of(q)
    if not is_watched():  # shapes alone are traced
        _check_forward(engine, q, *rest)
    return _differentiable(engine, q, *rest)


def _check_forward(
    engine: str, q: Tensor, q2: Tensor | None, k: Tensor | None, temperature: Tensor, *rest: Any
) -> None:
    """Refuse what the engine does not refuse itself."""
    code, numbers, layout, alignment, term_weights = rest[SIDE:]
    op_checks.check_embeddings(q, q2, k, temperature, op_checks.is_square(layout))
    if engine == "triton":
        rule = (Side(*rest[:SIDE]), code, numbers, layout, alignment, term_weights)
        op_checks.check_rule(*rule, sizes_of(q, q2, k), q.device)


def _forward_shapes(q: Tensor, *rest: Any) -> Any:
    return _module(_engine_of(q)).forward_shapes(q, *rest)


def _backward(*arguments: Any) -> Any:
    packed, saved, temperature, *rest = arguments[_PACKED:]
    engine = _engine_of(packed)
    code, numbers, layout, alignment, term_weights = rest[SIDE:-4]
    sizes, q_dtype, k_dtype, wanted = rest[-4:]
    op_checks.is_square(layout)
    shapes = _module(engine).forward_shapes
    dtypes = dtype_of(q_dtype), dtype_of(k_dtype)
    given = (arguments[:_PACKED], packed, saved, temperature)
    op_checks.check_buffers(shapes, *given, sizes, *dtypes, wanted, layout, code, term_weights)
    if engine == "triton":
        rule = (Side(*rest[:SIDE]), code, numbers, layout, alignment, term_weights)
        op_checks.check_rule(*rule, sizes, packed.device)
    return _module(engine).backward(*arguments)


def _backward_shapes(*arguments: Any) -> Any:
    return _module(_engine_of(arguments[_PACKED])).backward_shapes(*arguments)


_PACKED = 4  # the first argument of the backward that is never None
_FORWARD = torch.ops.ecgloss.pair_stats.default
_BACKWARD = torch.ops.ecgloss.pair_stats_backward.default
_LIBRARY.impl("pair_stats", _autograd, "Autograd")
for _key in ("CPU", "CUDA"):
    _LIBRARY.impl("pair_stats", _forward, _key)
    _LIBRARY.impl("pair_stats_backward", _backward, _key)
torch.library.register_fake(_FORWARD, _forward_shapes, lib=_LIBRARY)
torch.library.register_fake(_BACKWARD, _backward_shapes, lib=_LIBRARY)
