"""PhysioCLR's encoder, convolutions and a Transformer over all leads, and a decoder that reconstructs the whole length.

After the description of PhysioCLR (arXiv 2509.08116) and its wav2vec2-style configuration: four convolutions halve the
length each, 12 Transformer blocks of width 768 with 8 heads follow. The authors' model itself is not public. Here
blocks normalise first, and the decoder mirrors all four convolutions: the published one stops at a quarter of the
length.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from ecgloss.models.encoder import Encoder

_STRIDES = 4  # convolutions that halve the length: a token stands for 16 samples
_KERNEL = 5
_LEAST_CHANNELS = 32  # of the decoder
_POSITION_KERNEL, _POSITION_GROUPS = 25, 16


@dataclass(frozen=True)
class PhysioClrSize:
    """Widths and depth of one size of :class:`PhysioCLREncoder`.

    Attributes:
        channels: Of the convolutions.
        width: Of the Transformer, and length of one embedding.
        blocks: Number of Transformer blocks.
        heads: Heads of attention per block.
    """

    channels: int
    width: int
    blocks: int
    heads: int


PHYSIOCLR_SIZES = {"physioclr": PhysioClrSize(256, 768, 12, 8), "physioclr-small": PhysioClrSize(64, 128, 4, 4)}


class _Block(nn.Module):
    """Pre-norm Transformer block: x + attention(norm x), then x + MLP(norm x)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, W) -> (B, N, W)."""
        q, k, v = self.qkv(self.attention_norm(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v)  # (B, heads, N, W / heads)
        x = x + self.output(attended.transpose(1, 2).flatten(2))
        y: Tensor = x + self.mlp(self.mlp_norm(x))
        return y


class PhysioCLREncoder(Encoder):
    """ECG encoder: (B, C, T) signals -> (B, out_features) embeddings, the mean over tokens, for any T >= 16.

    Args:
        size: Widths and depth.
        in_channels: Number of leads C; z-scored leads are expected.

    Example:
        >>> import torch
        >>> encoder = physioclr("physioclr-small", in_channels=12)
        >>> encoder(torch.zeros(2, 12, 1000)).shape, encoder.tokens(torch.zeros(2, 12, 1000)).shape
        (torch.Size([2, 128]), torch.Size([2, 63, 128]))
    """

    def __init__(self, size: PhysioClrSize, in_channels: int = 12) -> None:
        super().__init__()
        if in_channels < 1:
            raise ValueError(f"in_channels is the number of leads, at least 1; got {in_channels}")
        self.in_channels, self.out_features = in_channels, size.width
        layers: list[nn.Module] = []
        for k in range(_STRIDES):
            inputs = size.channels if k else in_channels
            layers += [nn.Conv1d(inputs, size.channels, _KERNEL, stride=2, padding=_KERNEL // 2)]
            layers += [nn.GroupNorm(1, size.channels), nn.GELU()]
        self.convolutions = nn.Sequential(*layers)
        self.projection = nn.Linear(size.channels, size.width)
        self.position = nn.Conv1d(
            size.width, size.width, _POSITION_KERNEL, padding=_POSITION_KERNEL // 2, groups=_POSITION_GROUPS
        )
        self.blocks = nn.ModuleList(_Block(size.width, size.heads) for _ in range(size.blocks))
        self.norm = nn.LayerNorm(size.width)

    def tokens(self, x: Tensor) -> Tensor:
        """One vector for every 16 samples, (B, ceil(T / 16), out_features), for a decoder.

        Raises:
            ValueError: if ``x`` is not (B, in_channels, T) or T is below 16.
        """
        if x.ndim != 3 or x.shape[1] != self.in_channels:
            raise ValueError(f"x must be (B, {self.in_channels}, T), got {tuple(x.shape)}")
        if x.shape[2] < 2**_STRIDES:
            raise ValueError(f"x must have at least {2**_STRIDES} samples per lead, got {x.shape[2]}")
        y: Tensor = self.projection(self.convolutions(x).transpose(1, 2))
        y = y + F.gelu(self.position(y.transpose(1, 2))).transpose(1, 2)
        for block in self.blocks:
            y = block(y)
        z: Tensor = self.norm(y)
        return z

    def forward(self, x: Tensor) -> Tensor:
        """Embed a batch, (B, C, T) -> (B, out_features)."""
        return self.tokens(x).mean(1)


class PhysioCLRDecoder(nn.Module):
    """Tokens back to signals of the whole length: (B, N, W) -> (B, C, T), for T <= 2^doublings N.

    Args:
        width: W, the length of a token.
        out_channels: Number of leads C.
        channels: Of the first transposed convolution; each further one has half of those before it, at least 32.
        doublings: Number of transposed convolutions, each of which doubles the length: 4 for :class:`PhysioCLREncoder`.

    Example:
        >>> import torch
        >>> encoder = physioclr("physioclr-small", in_channels=12)
        >>> decoder = PhysioCLRDecoder(encoder.out_features, 12)
        >>> decoder(encoder.tokens(torch.zeros(2, 12, 1001)), 1001).shape
        torch.Size([2, 12, 1001])
    """

    def __init__(self, width: int, out_channels: int, channels: int = 128, doublings: int = _STRIDES) -> None:
        super().__init__()
        self.samples_per_token = 2**doublings
        widths = [width, *(max(channels >> k, _LEAST_CHANNELS) for k in range(doublings))]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.ConvTranspose1d(inputs, outputs, 4, stride=2, padding=1), nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.Conv1d(widths[-1], out_channels, 3, padding=1))

    def forward(self, tokens: Tensor, length: int) -> Tensor:
        """Reconstruct ``length`` samples.

        Raises:
            ValueError: if the tokens are too few for them.
        """
        most = tokens.shape[1] * self.samples_per_token
        if not 0 < length <= most:
            raise ValueError(f"length must be 1 to {most} for {tokens.shape[1]} tokens; got {length}")
        signals: Tensor = self.layers(tokens.transpose(1, 2))
        return signals[..., :length]


def physioclr(size: str = "physioclr", in_channels: int = 12) -> PhysioCLREncoder:
    """Build a PhysioCLR encoder, freshly initialised from torch's random state.

    ===============  ============  ============================
    size             out_features  parameters (in_channels=12)
    ===============  ============  ============================
    physioclr        768           87,177,216
    physioclr-small  128           893,440
    ===============  ============  ============================

    Args:
        size: "physioclr" or "physioclr-small", which trains on two cores.
        in_channels: Number of leads.

    Raises:
        ValueError: if the size is unknown or ``in_channels`` is below 1.

    Example:
        >>> sum(p.numel() for p in physioclr("physioclr-small").parameters())
        893440
    """
    if size not in PHYSIOCLR_SIZES:
        raise ValueError(f"size must be one of {', '.join(PHYSIOCLR_SIZES)}; got {size!r}")
    return PhysioCLREncoder(PHYSIOCLR_SIZES[size], in_channels)
