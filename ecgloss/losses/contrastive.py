"""The contrastive losses of the family that hold nothing but options, as modules."""

from __future__ import annotations

from torch import Tensor, nn
from torch.distributed import ProcessGroup

from ecgloss import functional
from ecgloss._validate import check_number, check_option
from ecgloss.functional.physioclr import DENOMINATORS
from ecgloss.functional.rows import REDUCTIONS
from ecgloss.functional.supcon import POSITIVES
from ecgloss.losses.base import LogTemperature, Loss

Temperature = float | Tensor | LogTemperature


class _Contrastive(Loss):
    """Temperature, reduction and backend."""

    def __init__(self, temperature: Temperature, reduction: str, backend: str) -> None:
        super().__init__()
        check_option("reduction", reduction, REDUCTIONS)
        self._hold_temperature(temperature)
        self.reduction, self.backend = reduction, backend

    def extra_repr(self) -> str:
        """Options, as ``print`` shows them."""
        options = {"temperature": getattr(self, "temperature", None), **self._options()}
        shown = {**options, "reduction": self.reduction, "backend": self.backend}
        return ", ".join(f"{name}={value!r}" for name, value in shown.items() if value is not None)

    def _options(self) -> dict[str, object]:
        """Further options."""
        return {}


class NTXentLoss(_Contrastive):
    """NT-Xent (SimCLR) as a module; arguments as in :func:`ecgloss.functional.ntxent`.

    The temperature may be trained: an ``nn.Parameter``, or a :class:`LogTemperature`. A plain tensor becomes a buffer.

    Example:
        >>> import torch
        >>> NTXentLoss(temperature=0.5)(torch.eye(4), torch.eye(4)).shape
        torch.Size([])
    """

    def __init__(
        self,
        temperature: Temperature = 0.07,
        *,
        group: ProcessGroup | None = None,
        backend: str = "auto",
        check_finite: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(temperature, reduction, backend)
        self.group, self.check_finite = group, check_finite

    def forward(self, z1: Tensor, z2: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """The loss of two views; shapes as in :func:`ecgloss.functional.ntxent`."""
        return functional.ntxent(
            z1,
            z2,
            temperature=self._tau(),
            group=self.group,
            backend=self.backend,
            check_finite=self.check_finite,
            weight=weight,
            reduction=self.reduction,
        )


class InfoNCELoss(_Contrastive):
    """InfoNCE as a module; arguments as in :func:`ecgloss.functional.info_nce`.

    Example:
        >>> import torch
        >>> criterion = InfoNCELoss(symmetric=True, temperature=LogTemperature())  # CLIP
        >>> criterion(torch.eye(4), torch.eye(4)).shape
        torch.Size([])
    """

    def __init__(
        self,
        temperature: Temperature = 0.07,
        *,
        symmetric: bool = False,
        backend: str = "auto",
        reduction: str = "mean",
    ) -> None:
        super().__init__(temperature, reduction, backend)
        self.symmetric = symmetric

    def forward(self, q: Tensor, k: Tensor, negatives: Tensor | None = None, *, weight: Tensor | None = None) -> Tensor:
        """The loss of queries and keys; shapes as in :func:`ecgloss.functional.info_nce`."""
        loss = functional.info_nce(
            q,
            k,
            negatives=negatives,
            temperature=self._tau(),
            symmetric=self.symmetric,
            backend=self.backend,
            weight=weight,
            reduction=self.reduction,
        )
        assert isinstance(loss, Tensor)
        return loss

    def _options(self) -> dict[str, object]:
        return {"symmetric": self.symmetric}


class SupConLoss(_Contrastive):
    """SupCon as a module, and CMSC with patient numbers; arguments as in :func:`ecgloss.functional.supcon`.

    Called as ``criterion(embeddings, labels)``, like that of pytorch-metric-learning.

    Example:
        >>> import torch
        >>> SupConLoss()(torch.eye(4), torch.tensor([0, 0, 1, 1])).shape
        torch.Size([])
    """

    def __init__(
        self,
        temperature: Temperature = 0.07,
        *,
        positives: str = "mean_out",
        backend: str = "auto",
        reduction: str = "mean",
    ) -> None:
        super().__init__(temperature, reduction, backend)
        check_option("positives", positives, POSITIVES)
        self.positives = positives

    def forward(self, z: Tensor, labels: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """The loss of labelled embeddings; shapes as in :func:`ecgloss.functional.supcon`."""
        loss = functional.supcon(
            z,
            labels,
            temperature=self._tau(),
            positives=self.positives,
            backend=self.backend,
            weight=weight,
            reduction=self.reduction,
        )
        assert isinstance(loss, Tensor)
        return loss

    def _options(self) -> dict[str, object]:
        return {"positives": self.positives}


class YAwareLoss(_Contrastive):
    """y-Aware InfoNCE as a module; arguments as in :func:`ecgloss.functional.y_aware`.

    Example:
        >>> import torch
        >>> age = torch.tensor([61.0, 48.0, 75.0, 55.0])
        >>> YAwareLoss(bandwidth=5.0)(torch.eye(4), torch.eye(4), age).shape
        torch.Size([])
    """

    def __init__(
        self,
        bandwidth: float = 1.0,
        temperature: Temperature = 0.07,
        *,
        backend: str = "auto",
        reduction: str = "mean",
    ) -> None:
        super().__init__(temperature, reduction, backend)
        check_number("bandwidth", bandwidth, low=0.0, open_low=True)
        self.bandwidth = bandwidth

    def forward(self, z1: Tensor, z2: Tensor, metadata: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """The loss of two views; shapes as in :func:`ecgloss.functional.y_aware`."""
        loss = functional.y_aware(
            z1,
            z2,
            metadata,
            bandwidth=self.bandwidth,
            temperature=self._tau(),
            backend=self.backend,
            weight=weight,
            reduction=self.reduction,
        )
        assert isinstance(loss, Tensor)
        return loss

    def _options(self) -> dict[str, object]:
        return {"bandwidth": self.bandwidth}


class PhysioCLRLoss(_Contrastive):
    """The contrastive term of PhysioCLR as a module; arguments as in :func:`ecgloss.functional.physioclr`.

    Example:
        >>> import torch
        >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0]])
        >>> PhysioCLRLoss()(torch.eye(3), torch.eye(3), features).shape
        torch.Size([])
    """

    def __init__(
        self,
        temperature: Temperature = 0.1,
        *,
        threshold: float = 0.25,
        denominator: str = "negatives",
        positives: str = "sum_in",
        include_self: bool = False,
        backend: str = "auto",
        reduction: str = "mean",
    ) -> None:
        super().__init__(temperature, reduction, backend)
        check_number("threshold", threshold, low=-1.0, high=1.0)
        check_option("denominator", denominator, DENOMINATORS)
        check_option("positives", positives, POSITIVES)
        self.threshold, self.denominator = threshold, denominator
        self.positives, self.include_self = positives, include_self

    def forward(
        self,
        h: Tensor,
        h_shuffled: Tensor,
        features: Tensor | None,
        *,
        h_neighbour: Tensor | None = None,
        has_neighbour: Tensor | None = None,
        patient: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch; shapes as in :func:`ecgloss.functional.physioclr`."""
        loss = functional.physioclr(
            h,
            h_shuffled,
            features,
            h_neighbour=h_neighbour,
            has_neighbour=has_neighbour,
            patient=patient,
            threshold=self.threshold,
            temperature=self._tau(),
            denominator=self.denominator,
            positives=self.positives,
            include_self=self.include_self,
            backend=self.backend,
            weight=weight,
            reduction=self.reduction,
        )
        assert isinstance(loss, Tensor)
        return loss

    def _options(self) -> dict[str, object]:
        names = ("threshold", "denominator", "positives", "include_self")
        return {name: getattr(self, name) for name in names}


class BYOLLoss(nn.Module):
    """The symmetric loss of BYOL as a module, the mean of both directions; see :func:`ecgloss.functional.byol`.

    Example:
        >>> import torch
        >>> p1, p2, z1, z2 = (torch.eye(2) for _ in range(4))
        >>> BYOLLoss()(p1, p2, z1, z2)
        tensor(0.)
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__()
        check_option("reduction", reduction, REDUCTIONS)
        self.reduction = reduction

    def forward(self, p1: Tensor, p2: Tensor, z1: Tensor, z2: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """The loss of predictions p and target projections z of both views, each (B, D)."""
        options = {"weight": weight, "reduction": self.reduction}
        first = functional.byol(p1, z2, **options)  # type: ignore[arg-type]
        return (first + functional.byol(p2, z1, **options)) / 2  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        """Options, as ``print`` shows them."""
        return f"reduction={self.reduction!r}"
