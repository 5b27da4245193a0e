"""What torch's transforms make of every loss: one row per transform, from which the tests and docs/losses.md are made.

Right values come from first derivatives of the definition alone (:class:`Cell`): a second derivative is their central
difference, a tangent their product with a direction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.autograd.forward_ad as fwd
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint

from tests.loss_cases import CASES, Side, side

B, D = 6, 4
ONE_SIDED = ("moco", "moco by risk", "byol")  # the second embeddings come from a target network, without gradient
VIEWS = ("ntxent", "clef paper", "clef official", "y_aware")
Pairs = Iterator[tuple[Any, Any]]


@dataclass(frozen=True)
class Cell:
    """One loss on one backend, in fp64, with the numbers it should give."""

    loss: str
    backend: str
    batch: int = B

    def __post_init__(self) -> None:
        self.side, self.views  # noqa: B018  # drawn now, not while something is traced

    @cached_property
    def side(self) -> Side:
        return side(self.batch, D, torch.Generator().manual_seed(3))

    @cached_property
    def views(self) -> Tensor:
        return self.numbers(2, self.batch, D)

    def numbers(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    @property
    def point(self) -> tuple[Tensor, ...]:
        """The embeddings that get gradients, and the temperature where there is one."""
        z = self.views
        embeddings = (z[0],) if self.loss in ONE_SIDED else (z[0], z[1])
        return (*embeddings, *((torch.tensor(0.5, dtype=torch.float64),) if CASES[self.loss].similarities else ()))

    @property
    def direction(self) -> tuple[Tensor, ...]:
        """A direction in the space of :attr:`point`."""
        z = torch.randn(self.views.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
        return tuple(v if x.dim() else x.new_tensor(0.3) for x, v in zip(self.point, (z[0], z[1], z[1])))

    def __call__(self, *point: Tensor, side: Side | None = None, backend: str | None = None) -> Tensor:
        """The loss at a point."""
        known = self.side if side is None else side
        embeddings = [x for x in point if x.dim()]
        z = self.views[1].to(embeddings[0])
        first, second = (*embeddings, z)[:2]
        if not CASES[self.loss].similarities:
            return CASES[self.loss].call(first, second, known)
        tau = point[-1] if not point[-1].dim() else 0.5
        loss: Tensor = CASES[self.loss].call(first, second, known, temperature=tau, backend=backend or self.backend)
        return loss

    def gradient(self, point: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """By plain autograd of the definition, of first order."""
        leaves = [x.clone().requires_grad_() for x in point]
        return torch.autograd.grad(self(*leaves, backend="reference"), leaves)

    @property
    def curvature(self) -> tuple[Tensor, ...]:
        """The Hessian times the direction, by central differences."""
        step = 1e-5
        ends = [tuple(x + s * v for x, v in zip(self.point, self.direction)) for s in (step, -step)]
        return tuple((a - b) / (2 * step) for a, b in zip(*map(self.gradient, ends)))

    @property
    def slope(self) -> Tensor:
        """The derivative along the direction."""
        return sum_of_products(self.gradient(self.point), self.direction)


def sum_of_products(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> Tensor:
    return torch.stack([(x * y).sum() for x, y in zip(a, b)]).sum()


def leaves_of(cell: Cell) -> list[Tensor]:
    return [x.clone().requires_grad_() for x in cell.point]


def second_by_backward(cell: Cell) -> Pairs:
    leaves = leaves_of(cell)
    gradient = torch.autograd.grad(cell(*leaves), leaves, create_graph=True)
    sum_of_products(gradient, cell.direction).backward()
    yield from zip([x.grad for x in leaves], cell.curvature)


def second_by_grad(cell: Cell) -> Pairs:
    leaves = leaves_of(cell)
    gradient = torch.autograd.grad(cell(*leaves), leaves, create_graph=True)
    yield from zip(torch.autograd.grad(sum_of_products(gradient, cell.direction), leaves), cell.curvature)


def second_by_backward_of_inputs(cell: Cell) -> Pairs:
    """One input at a time: nothing else on the way raises or adds up."""
    for i, right in enumerate(cell.curvature):
        leaves = leaves_of(cell)
        cell(*leaves).backward(create_graph=True, inputs=leaves)
        gradient, leaves[i].grad = [x.grad for x in leaves], None
        sum_of_products(tuple(gradient), cell.direction).backward(inputs=[leaves[i]])
        yield leaves[i].grad, right


def second_of_weights(cell: Cell) -> Pairs:
    """Through an encoder z = tanh(x W): gradient penalties, Hessian-vector products, meta-learning."""
    x, start = cell.numbers(2, B, 3), cell.numbers(3, D)
    v, tau, step = start.flip(0), cell.point[2:] if cell.loss not in ONE_SIDED else cell.point[1:], 1e-5
    if not CASES[cell.loss].similarities:
        tau = ()

    def gradient(weights: Tensor, create_graph: bool, backend: str) -> Tensor:
        sides = torch.tanh(x @ weights)
        embeddings = (sides[0],) if cell.loss in ONE_SIDED else (sides[0], sides[1])
        return torch.autograd.grad(cell(*embeddings, *tau, backend=backend), weights, create_graph=create_graph)[0]

    weights = start.clone().requires_grad_()
    (got,) = torch.autograd.grad((gradient(weights, True, cell.backend) * v).sum(), weights)
    up, down = (gradient((start + s * v).requires_grad_(), False, "reference") for s in (step, -step))
    yield got, (up - down) / (2 * step)


def forward_mode(cell: Cell) -> Pairs:
    with fwd.dual_level():
        loss = cell(*(fwd.make_dual(x, v) for x, v in zip(cell.point, cell.direction)))
        yield fwd.unpack_dual(loss).tangent, cell.slope


def func_grad(cell: Cell) -> Pairs:
    everything = tuple(range(len(cell.point)))
    yield from zip(torch.func.grad(cell, everything)(*cell.point), cell.gradient(cell.point))


def func_jacrev(cell: Cell) -> Pairs:
    everything = tuple(range(len(cell.point)))
    yield from zip(torch.func.jacrev(cell, everything)(*cell.point), cell.gradient(cell.point))


def func_jvp(cell: Cell) -> Pairs:
    yield torch.func.jvp(cell, cell.point, cell.direction)[1], cell.slope
    gradient = torch.func.grad(cell, tuple(range(len(cell.point))))
    yield from zip(torch.func.jvp(gradient, cell.point, cell.direction)[1], cell.curvature)


def func_vmap(cell: Cell) -> Pairs:
    points = [tuple(x + s * v for x, v in zip(cell.point, cell.direction)) for s in (0.0, 0.1, 0.2)]
    got = torch.func.vmap(cell)(*(torch.stack(x) for x in zip(*points)))
    yield got, torch.stack([cell(*point, backend="reference") for point in points])


def batched_gradients(cell: Cell) -> Pairs:
    """torch.autograd.functional.jacobian(vectorize=True) and is_grads_batched run a backward pass under vmap."""
    leaves = leaves_of(cell)
    got = torch.autograd.grad(cell(*leaves), leaves, torch.tensor([1.0, 2.0]).double(), is_grads_batched=True)
    yield from zip(got, (torch.stack([g, 2 * g]) for g in cell.gradient(cell.point)))


def fake_mode(cell: Cell) -> Pairs:
    """Shapes without numbers; a real call afterwards finds nothing left behind."""
    known = cell.side
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fakes = [mode.from_tensor(x).requires_grad_() for x in cell.point]
        fake_side = Side(*(mode.from_tensor(x) for x in vars(known).values()))
        loss = cell(*fakes, side=fake_side)
        yield loss.shape, torch.Size([])
        yield from ((g.shape, x.shape) for g, x in zip(torch.autograd.grad(loss, fakes), fakes))
    yield cell(*cell.point), cell(*cell.point, backend="reference")


def traced_by_fx(cell: Cell) -> Pairs:
    def gradient(*point: Tensor) -> tuple[Tensor, ...]:
        leaves = [x.detach().requires_grad_() for x in point]
        return torch.autograd.grad(cell(*leaves), leaves)

    graph = make_fx(gradient)(*cell.point)
    other = tuple(x + 0.1 * v for x, v in zip(cell.point, cell.direction))
    yield from zip(graph(*other), cell.gradient(other))
    yield cell(*cell.point), cell(*cell.point, backend="reference")


def meta_device(cell: Cell) -> Pairs:
    if cell.backend == "cpp":
        return  # which computes on a CPU, and says so
    leaves = [x.to("meta").requires_grad_() for x in cell.point]
    if leaves[-1].dim() == 0:
        leaves.pop()
    loss = cell(*leaves, side=cell.side.on("meta"))
    yield (loss.shape, loss.device.type), (torch.Size([]), "meta")
    yield from ((g.shape, x.shape) for g, x in zip(torch.autograd.grad(loss, leaves), leaves))


def recomputed(cell: Cell, use_reentrant: bool) -> Pairs:
    leaves = leaves_of(cell)
    loss = checkpoint(cell, *leaves, use_reentrant=use_reentrant)
    yield loss, cell(*cell.point, backend="reference")
    loss.backward()
    yield from zip([x.grad for x in leaves], cell.gradient(cell.point))


def overwritten_side(cell: Cell) -> Pairs:
    """The next batch in the same buffers, before the backward pass: right values, or torch's own error."""
    known, leaves = Side(*(x.clone() for x in vars(cell.side).values())), leaves_of(cell)
    loss = cell(*leaves, side=known)
    for x in vars(known).values():
        x.copy_(x.flip(0))
    try:
        gradient = torch.autograd.grad(loss, leaves)
    except RuntimeError as error:
        yield "modified by an inplace operation" in str(error), True
        return
    yield from zip(gradient, cell.gradient(cell.point))


def short_and_long_rows(cell: Cell) -> Pairs:
    """Norms at which fp32 squares are no numbers, or below 1e-12, the least norm."""
    for factors in ([1e19, 1.0], [1e25, 1e-13], [1e-13, 1e-13], [0.0, 1e22]):
        scale = torch.ones(B, 1)
        scale[:2, 0] = torch.tensor(factors)
        point = [x.float() * (scale if x.dim() else 1) for x in cell.point]
        leaves = [x.clone().requires_grad_() for x in point]
        if cell.loss in ("supcon sum_in", "physioclr all", "peak_aware_mse"):  # which add up embeddings of two views
            continue
        loss = cell(*leaves)
        right = [x.double().requires_grad_() for x in point]
        expected = cell(*right, backend="reference")
        yield loss, expected.float()
        norms = scale.clamp(min=1e-12)
        gradients = torch.autograd.grad(loss, leaves), torch.autograd.grad(expected, right)
        yield from ((a * norms, b.float() * norms) if a.dim() else (a, b.float()) for a, b in zip(*gradients))


def one_sample(cell: Cell) -> Pairs:
    """Where a loss of one sample is defined, it is that of the definition, with its gradient."""
    known = cell.side
    alone = Side(*(x if name.startswith("queue") else x[:1] for name, x in vars(known).items()))
    leaves = [(x[:1] if x.dim() else x).clone().requires_grad_() for x in cell.point]
    z = cell.views[1][:1]
    first, second = (*[x for x in leaves if x.dim()], z)[:2]
    options = {"temperature": leaves[-1]} if CASES[cell.loss].similarities else {}
    results = []
    for backend in (cell.backend, "reference"):
        loss = CASES[cell.loss].call(first, second, alone, **options, **({"backend": backend} if options else {}))
        gradient = torch.autograd.grad(loss, leaves, allow_unused=True)
        results.append((loss, *(torch.zeros(()) if g is None else g for g in gradient)))
    yield from zip(*results)


def under_autocast(cell: Cell) -> Pairs:
    """An encoder under autocast with a gradient scaler: the loss is computed in fp32, whatever surrounds it."""
    x = cell.numbers(2, B, 3).float()
    weights = cell.numbers(3, D).float().requires_grad_()
    tau = tuple(t.float() for t in cell.point if not t.dim())
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = x.flatten(0, 1) @ weights
        assert z.dtype == torch.bfloat16
        embeddings = z[:B], z[B:]
        loss = cell(*embeddings[: 1 if cell.loss in ONE_SIDED else 2], *tau)
    assert loss.dtype == torch.float32
    scaler.scale(loss).backward()
    got, weights.grad = weights.grad / 1024, None
    wide = z.detach().double().requires_grad_()
    parts = (wide[:B],) if cell.loss in ONE_SIDED else (wide[:B], wide[B:])
    expected = cell(*parts, *(t.double() for t in tau), backend="reference")
    (g,) = torch.autograd.grad(expected, wide)
    yield Rough(loss), expected.float()
    yield Rough(got), (x.flatten(0, 1).double().T @ g).float()


class Rough:
    """A number whose gradient went through bf16."""

    def __init__(self, value: Tensor) -> None:
        self.value = value


def evaluate(loss: str, backend: str, first: Tensor, second: Tensor, tau: Tensor, *known: Tensor) -> Tensor:
    """A loss of tensors alone, as compilers want it."""
    options = {"temperature": tau, "backend": backend} if CASES[loss].similarities else {}
    value: Tensor = CASES[loss].call(first, second, Side(*known), **options)
    return value


class Module(nn.Module):
    """:func:`evaluate` as a module."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.loss, self.backend = cell.loss, cell.backend

    def forward(self, first: Tensor, second: Tensor, tau: Tensor, known: list[Tensor]) -> Tensor:
        return evaluate(self.loss, self.backend, first, second, tau, *known)


def arguments(cell: Cell) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    first, second = (z.clone().requires_grad_() for z in cell.views)
    return first, second, torch.tensor(0.5, dtype=torch.float64, requires_grad=True), [*vars(cell.side).values()][:7]


def with_other_batches(cell: Cell, module: Callable[..., Tensor]) -> Pairs:
    """Value and gradient at the batch size of the example and at another."""
    for size in (B, B + 3):
        other = Cell(cell.loss, cell.backend, size)
        first, second, tau, known = arguments(other)
        value = module(first, second, tau, known)
        point = leaves_of(other)
        expected = other(*point, backend="reference")
        yield value, expected
        leaves = [first] if cell.loss in ONE_SIDED else [first, second]
        leaves += [tau] if CASES[cell.loss].similarities else []
        yield from zip(torch.autograd.grad(value, leaves), torch.autograd.grad(expected, point))


def compiled(cell: Cell) -> Pairs:
    torch._dynamo.reset()
    yield from with_other_batches(cell, torch.compile(Module(cell), dynamic=True, fullgraph=True, backend="aot_eager"))


def exported(cell: Cell, strict: bool) -> Pairs:
    batch = torch.export.Dim("batch", min=4)
    shapes = ({0: batch}, {0: batch}, None, [{0: batch}] * 5 + [None, None])
    program = torch.export.export(Module(cell), arguments(cell), dynamic_shapes=shapes, strict=strict)
    yield from with_other_batches(cell, program.module())


@dataclass(frozen=True)
class Transform:
    """One row of the table.

    Attributes:
        title: What docs call it.
        check: Pairs of what a cell gives and what is right.
        how: How it is computed, or what to do where it is an error.
        error: What the error says; None: right values.
        only: The losses that raise the error; None: all.
        backends: The backends on which they do; None: all.
    """

    title: str
    check: Callable[[Cell], Pairs]
    how: str
    error: str | None = None
    only: tuple[str, ...] | None = None
    backends: tuple[str, ...] | None = None

    def raises(self, loss: str, backend: str) -> bool:
        of_loss = self.only is None or loss in self.only
        return self.error is not None and of_loss and (self.backends is None or backend in self.backends)


def traced_by_jit(cell: Cell) -> Pairs:
    yield torch.jit.trace(lambda *point: cell(*point), cell.point)(*cell.point), cell(*cell.point, backend="reference")


TRANSFORMS: dict[str, Transform] = {
    "second backward": Transform(
        "second derivative by `backward()`", second_by_backward, "by the definition, O(N²) memory"
    ),
    "second grad": Transform(
        "second derivative by `torch.autograd.grad`", second_by_grad, "by the definition, O(N²) memory"
    ),
    "second inputs": Transform(
        "second derivative by `backward(inputs=...)`", second_by_backward_of_inputs, "by the definition, O(N²) memory"
    ),
    "second weights": Transform(
        "second derivative of an encoder's weights", second_of_weights, "by the definition, O(N²) memory"
    ),
    "forward mode": Transform("forward-mode AD (`dual_level`)", forward_mode, "by the definition, O(N²) memory"),
    "func.grad": Transform("`torch.func.grad`", func_grad, "by the definition, O(N²) memory"),
    "func.jacrev": Transform("`torch.func.jacrev`", func_jacrev, "by the definition, O(N²) memory"),
    "func.jvp": Transform("`torch.func.jvp`, also of `grad`", func_jvp, "by the definition, O(N²) memory"),
    "func.vmap": Transform("`torch.func.vmap`", func_vmap, "by the definition, O(N²) memory per batch"),
    "batched": Transform("`is_grads_batched`", batched_gradients, "by the definition, O(N²) memory"),
    "fake": Transform("`FakeTensorMode`, then a real call", fake_mode, "shapes; nothing stays in a cache"),
    "make_fx": Transform("`make_fx`, then a real call", traced_by_fx, "the kernels are ops in the graph"),
    "meta": Transform("`meta` device", meta_device, 'shapes; `backend="cpp"` raises, it computes on a CPU'),
    "checkpoint": Transform(
        "`checkpoint(use_reentrant=False)`", lambda cell: recomputed(cell, False), "`MoCoLoss` raises: leave it outside"
    ),
    "checkpoint reentrant": Transform(
        "`checkpoint(use_reentrant=True)`", lambda cell: recomputed(cell, True), "`MoCoLoss` raises: leave it outside"
    ),
    "overwritten": Transform(
        "labels, risks, metadata, ... overwritten before `backward()`",
        overwritten_side,
        "or torch's own error about an inplace operation: pass a copy (`labels.clone()`)",
    ),
    "norms": Transform("rows of norm 0, 1e-13, 1e19 to 1e25", short_and_long_rows, "z / max(\\|z\\|, 1e-12)"),
    "one sample": Transform(
        "a batch of one sample",
        one_sample,
        "NT-Xent, CLEF and y-Aware need 2 samples; elsewhere the definition, 0 without negatives",
        error="at least 2 samples",
        only=VIEWS,
    ),
    "autocast": Transform("`torch.autocast`, `GradScaler`", under_autocast, "computed in fp32"),
    "jit.trace": Transform(
        "`torch.jit.trace`",
        traced_by_jit,
        "it would fix the batch size: trace the encoder alone, or use `torch.export`",
        error="torch.jit.trace would fix the batch size",
    ),
}

EXPORT: dict[str, Any] = {
    "how": 'one op per pass; `backend="chunked"` exports the definition',
}
COMPILERS: dict[str, Transform] = {
    "compile": Transform("`torch.compile(dynamic=True, fullgraph=True)`", compiled, "one op per pass"),
    "export": Transform("`torch.export`, dynamic batch", lambda cell: exported(cell, False), **EXPORT),
    "export strict": Transform(
        "`torch.export(strict=True)`, dynamic batch", lambda cell: exported(cell, True), **EXPORT
    ),
}


def table() -> str:
    """The section `Transforms` of docs/losses.md: a row per transform, for all losses and backends."""
    lines = ["| transform | result | how, or what to do |", "|---|---|---|"]
    for transform in (*TRANSFORMS.values(), *COMPILERS.values()):
        result = "right values"
        if transform.error is not None:
            result = "an error" if transform.only is None else "right values, or an error"
        lines.append(f"| {transform.title} | {result} | {transform.how} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
