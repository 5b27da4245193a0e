"""MoCo: InfoNCE against a queue of the keys of earlier batches."""

from __future__ import annotations

import torch
import torch.nn.functional as torch_f
from torch import Tensor
from torch.distributed import ProcessGroup

from ecgloss import functional
from ecgloss._transforms import refuse_recomputation
from ecgloss._validate import check_matrix, check_option
from ecgloss.engine.distributed import gather_rows
from ecgloss.functional.clef_options import ClefOptions
from ecgloss.functional.rows import REDUCTIONS
from ecgloss.losses.base import LogTemperature, Loss


class MoCoLoss(Loss):
    """InfoNCE against a queue of older keys (MoCo, arXiv 1911.05722), as a module that holds the queue.

    The queue starts with random unit vectors, as the authors' does. Each call in training mode computes the loss
    against the queue as it is and then writes the batch's keys over the oldest entries; each key is held once, in
    order, whatever the batch sizes. In evaluation mode nothing is written. Queue, risks and position are buffers:
    they are saved and loaded with the module. The momentum of the key encoder is the training loop's, e.g.
    ``torch.optim.swa_utils.AveragedModel`` with ``get_ema_multi_avg_fn(0.999)``.

    Args:
        width: D, width of the embeddings.
        size: K, entries of the queue.
        temperature: tau > 0; a parameter or a :class:`LogTemperature` is trained, a plain tensor becomes a buffer.
        weight_norm: How entries weigh by risk, where risks are given: ``"mean"``, ``"none"`` or ``"softmax"``.
        alpha: Minimum dissimilarity of two patients.
        risk_scale: ``"minmax"`` over batch and queue, or a fixed positive scale.
        group: Process group whose ranks' keys are all written, so that every rank holds the same queue.
        backend: ``"auto"`` or a name; see :func:`ecgloss.backends`.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        seed: Seed of the first entries.

    Raises:
        ValueError: for sizes below 1 or options that are not accepted.

    Example:
        >>> criterion = MoCoLoss(width=8, size=16)
        >>> q, k = torch.randn(2, 4, 8)
        >>> loss = criterion(q, k)
        >>> int(criterion.position), torch.equal(criterion.queue[:4], torch.nn.functional.normalize(k))
        (4, True)
    """

    queue: Tensor
    queue_risk: Tensor
    position: Tensor

    def __init__(
        self,
        width: int,
        size: int = 65536,
        temperature: float | Tensor | LogTemperature = 0.07,
        *,
        weight_norm: str = "mean",
        alpha: float = 0.2,
        risk_scale: float | str = "minmax",
        group: ProcessGroup | None = None,
        backend: str = "auto",
        reduction: str = "mean",
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (("width", width), ("size", size)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be an int of at least 1; got {value!r}")
        ClefOptions(alpha=alpha, weight_norm=weight_norm, risk_scale=risk_scale)  # checks
        check_option("reduction", reduction, REDUCTIONS)
        self._hold_temperature(temperature)
        self.weight_norm, self.alpha, self.risk_scale = weight_norm, alpha, risk_scale
        self.group, self.backend, self.reduction = group, backend, reduction
        first = torch.randn(size, width, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("queue", torch_f.normalize(first, dim=1))
        self.register_buffer("queue_risk", torch.full((size,), torch.nan, dtype=torch.float64))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    def forward(self, q: Tensor, k: Tensor, risk: Tensor | None = None, *, weight: Tensor | None = None) -> Tensor:
        """The loss of queries and keys; then the keys are written.

        Args:
            q: (B, D) queries.
            k: (B, D) keys of the momentum encoder.
            risk: (B,) risks of the samples, by which entries of the queue weigh; None: all weigh 1.
            weight: (B,) weights of the queries.

        Returns:
            The loss, 0-d, or (B,) with ``reduction="none"``.

        Raises:
            ValueError: for shapes that are not accepted, and for more keys than the queue holds.
        """
        if self.training:
            refuse_recomputation("MoCoLoss")
        check_matrix("q", q)
        check_matrix("k", k)
        if isinstance(risk, Tensor) and risk.dim() != 1:
            raise ValueError(f"risk must have shape ({k.shape[0]},), one score per key; got {tuple(risk.shape)}")
        keys = k.detach() if self.group is None else gather_rows(k.detach(), self.group)
        if len(keys) > len(self.queue):
            raise ValueError(f"k must not hold more keys than the queue, {len(self.queue)}; got {len(keys)}")
        if k.shape[1] != self.queue.shape[1]:
            raise ValueError(f"k must have the width of the queue, {self.queue.shape[1]}; got {k.shape[1]}")
        loss = functional.moco(
            q,
            k,
            # A copy: writing to the queue must not change what the backward pass reads.
            self.queue.to(q.dtype, copy=self.training),
            risk=risk,
            queue_risk=None if risk is None else self.queue_risk.clone(),
            weight_norm=self.weight_norm,
            alpha=self.alpha,
            risk_scale=self.risk_scale,
            temperature=self._tau(),
            backend=self.backend,
            weight=weight,
            reduction=self.reduction,
        )
        assert isinstance(loss, Tensor)
        if self.training:
            self._write(keys, None if risk is None else gather_rows(risk, self.group) if self.group else risk)
        return loss

    @torch.no_grad()
    def _write(self, keys: Tensor, risk: Tensor | None) -> None:
        """Keys over the oldest entries, around the end."""
        size = len(self.queue)
        places = (self.position + torch.arange(len(keys), device=self.queue.device)) % size
        self.queue[places] = torch_f.normalize(keys.to(self.queue.dtype), dim=1)
        unknown = self.queue_risk.new_full((len(keys),), torch.nan)
        self.queue_risk[places] = unknown if risk is None else risk.to(self.queue_risk)
        self.position.copy_((self.position + len(keys)) % size)

    def extra_repr(self) -> str:
        """Options, as ``print`` shows them."""
        size, width = self.queue.shape
        held = "" if self.log_temperature is not None else f"temperature={self.temperature!r}, "  # it shows itself
        return f"width={width}, size={size}, {held}weight_norm={self.weight_norm!r}, backend={self.backend!r}"
