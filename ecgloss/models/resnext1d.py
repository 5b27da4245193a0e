"""ResNeXt1D: the residual network that the CLEF authors pretrain, in three sizes.

It is Net1D (Hong 2020, public source ``hsd1503/resnet1d``) with Swish activations and neither batch
normalisation nor dropout, as in CLEF (arXiv 2512.02180). A block computes ::

    x -> Swish -> 1x1 -> Swish -> grouped k16 (stride) -> Swish -> 1x1 -> squeeze-and-excitation + shortcut(x)

and the first block of every stage halves the length. Only the very first block of the network lacks its
leading Swish, because the stem already ends in one. Every module takes part in every forward pass, so every
parameter gets a gradient and distributed training needs no ``find_unused_parameters``.

Attribute names (``first_conv.conv``, ``stage_list.0.block_list.0.conv1.conv``, ``se_fc1``, ...) are those of
Net1D: state dictionaries of published checkpoints map one to one (see :func:`ecgloss.models.load_clef`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ecgloss.models.encoder import Encoder

KERNEL_SIZE = 16
STRIDE = 2
SE_REDUCTION = 2
MIN_LENGTH = 256

SizeName = Literal["small", "medium", "large"]


@dataclass(frozen=True)
class ResNeXtSize:
    """Widths and depths of one size of :class:`ResNeXt1D`.

    Attributes:
        name: How the size is called.
        base: Channels of the stem.
        filters: Output channels of each stage.
        blocks: Number of residual blocks of each stage.
        ratio: Channels inside a block divided by its output channels.
        group_width: Output channels of a stage divided by the number of groups of its k16 convolutions.
    """

    name: str
    base: int
    filters: tuple[int, ...]
    blocks: tuple[int, ...]
    ratio: float
    group_width: int

    @property
    def out_features(self) -> int:
        """Length of one embedding."""
        return self.filters[-1]


SIZES: dict[str, ResNeXtSize] = {
    size.name: size
    for size in (
        ResNeXtSize("small", 32, (32, 64, 64, 128, 128, 256), (1, 1, 2, 2, 2, 2), 0.5, 8),
        ResNeXtSize("medium", 64, (64, 160, 160, 400, 400, 1024, 1024), (2, 2, 2, 3, 3, 4, 4), 1.0, 16),
        ResNeXtSize(
            "large",
            128,
            (128, 256, 256, 512, 512, 1024, 1024, 2048, 2048),
            (2, 3, 3, 4, 4, 5, 5, 6, 6),
            1.5,
            32,
        ),
    )
}


class _SameConv1d(nn.Module):
    """Convolution with right-heavy "same" padding: (B, C_in, L) -> (B, C_out, ceil(L / stride))."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride
        self.conv = nn.Conv1d(in_channels, out_channels, kernel_size, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """Pad by just enough for ceil(L / stride) outputs, the odd sample on the right, then convolve."""
        length = x.shape[-1]
        out_length = -(-length // self.stride)
        total = max(0, (out_length - 1) * self.stride + self.kernel_size - length)
        if total:
            x = F.pad(x, (total // 2, total - total // 2))
        y: Tensor = self.conv(x)
        return y


class _Block(nn.Module):
    """Pre-activation bottleneck with squeeze-and-excitation: (B, C_in, L) -> (B, C_out, ceil(L / stride))."""

    def __init__(
        self, in_channels: int, out_channels: int, size: ResNeXtSize, *, stride: int, pre_activation: bool
    ) -> None:
        super().__init__()
        mid_channels = int(out_channels * size.ratio)
        self.stride = stride
        self.pre_activation = pre_activation
        self.extra_channels = out_channels - in_channels
        self.conv1 = _SameConv1d(in_channels, mid_channels, 1)
        self.conv2 = _SameConv1d(
            mid_channels, mid_channels, KERNEL_SIZE, stride, groups=out_channels // size.group_width
        )
        self.conv3 = _SameConv1d(mid_channels, out_channels, 1)
        self.se_fc1 = nn.Linear(out_channels, out_channels // SE_REDUCTION)
        self.se_fc2 = nn.Linear(out_channels // SE_REDUCTION, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Residual branch, gated per channel, plus the shortcut."""
        y: Tensor = self.conv1(F.silu(x) if self.pre_activation else x)
        y = self.conv2(F.silu(y))
        y = self.conv3(F.silu(y))
        gate: Tensor = self.se_fc2(F.silu(self.se_fc1(y.mean(-1)))).sigmoid()  # (B, C_out)
        return y * gate.unsqueeze(-1) + self._shortcut(x)

    def _shortcut(self, x: Tensor) -> Tensor:
        """The input, brought to the output's shape without parameters."""
        if self.stride > 1:
            # Zeros, not -inf, fill the last window, as in Net1D: a negative last sample becomes 0.
            x = F.max_pool1d(F.pad(x, (0, -x.shape[-1] % self.stride)), self.stride)
        if self.extra_channels:
            below = self.extra_channels // 2
            x = F.pad(x, (0, 0, below, self.extra_channels - below))
        return x


class _Stage(nn.Module):
    """Blocks of one width; the first of them halves the length: (B, C_in, L) -> (B, C_out, ceil(L / 2))."""

    def __init__(self, in_channels: int, out_channels: int, size: ResNeXtSize, *, n_blocks: int, first: bool) -> None:
        super().__init__()
        self.block_list = nn.ModuleList(
            _Block(
                out_channels if index else in_channels,
                out_channels,
                size,
                stride=1 if index else STRIDE,
                pre_activation=index > 0 or not first,
            )
            for index in range(n_blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        """All blocks in turn."""
        for block in self.block_list:
            x = block(x)
        return x


class ResNeXt1D(Encoder):
    """ECG encoder: (B, C, T) signals -> (B, out_features) embeddings, for any T >= 256.

    The embedding is the mean over time of the last stage, without a projection head. Use :func:`resnext1d`
    for the published sizes.

    Args:
        size: Widths and depths.
        in_channels: Number of leads C.

    Attributes:
        size: Name of the size.
        in_channels: Number of leads C.
        out_features: Length of one embedding.

    Example:
        >>> import torch
        >>> encoder = ResNeXt1D(SIZES["small"], in_channels=12)
        >>> encoder(torch.zeros(2, 12, 1000)).shape, encoder.size, encoder.out_features
        (torch.Size([2, 256]), 'small', 256)
    """

    def __init__(self, size: ResNeXtSize, in_channels: int = 1) -> None:
        super().__init__()
        if in_channels < 1:
            raise ValueError(f"in_channels is the number of leads, at least 1; got {in_channels}")
        self.size = size.name
        self.in_channels = in_channels
        self.out_features = size.out_features
        self.first_conv = _SameConv1d(in_channels, size.base, KERNEL_SIZE, STRIDE)
        widths = (size.base, *size.filters)
        self.stage_list = nn.ModuleList(
            _Stage(widths[index], widths[index + 1], size, n_blocks=n_blocks, first=index == 0)
            for index, n_blocks in enumerate(size.blocks)
        )

    def tokens(self, x: Tensor) -> Tensor:
        """The last stage before the mean over time, (B, N, out_features), for a decoder.

        Raises:
            ValueError: as :meth:`forward`.
        """
        return self._last_stage(x).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Embed a batch.

        Args:
            x: (B, C, T) signals, z-scored, in the dtype of the parameters.

        Returns:
            (B, out_features) embeddings.

        Raises:
            ValueError: if ``x`` is not (B, in_channels, T) or T is below 256.
        """
        return self._last_stage(x).mean(-1)

    def _last_stage(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, out_features, N)."""
        if x.ndim != 3 or x.shape[1] != self.in_channels:
            raise ValueError(f"x must be (B, {self.in_channels}, T), got {tuple(x.shape)}")
        if x.shape[2] < MIN_LENGTH:
            raise ValueError(f"x must have at least {MIN_LENGTH} samples per lead, got {x.shape[2]}")
        x = F.silu(self.first_conv(x))
        for stage in self.stage_list:
            x = stage(x)
        return x


def resnext1d(size: SizeName, in_channels: int = 1) -> ResNeXt1D:
    """Build a ResNeXt1D of a published size, freshly initialised from torch's random state.

    ======  ============  ===========================
    size    out_features  parameters (in_channels=1)
    ======  ============  ===========================
    small   256           443,184
    medium  1024          30,587,632
    large   2048          296,301,312
    ======  ============  ===========================

    Args:
        size: "small", "medium" or "large".
        in_channels: Number of leads.

    Returns:
        The encoder, (B, in_channels, T) -> (B, out_features).

    Raises:
        ValueError: if the size is unknown or ``in_channels`` is below 1.

    Example:
        >>> sum(p.numel() for p in resnext1d("small").parameters())
        443184
    """
    if size not in SIZES:
        raise ValueError(f"size must be one of {', '.join(SIZES)}; got {size!r}")
    return ResNeXt1D(SIZES[size], in_channels)
