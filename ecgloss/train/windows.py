"""Windows with the numbers that will augment them: loaders draw these, any device turns them into views."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor

from ecgloss.data.augment import Augmentation, augment, draw_augmentation, mask_leads
from ecgloss.data.draws import uniform
from ecgloss.data.preprocess import Preprocessing
from ecgloss.data.window import normalise


class Windows(NamedTuple):
    """V windows of each of B recordings, of C leads each.

    Attributes:
        x: (V, B, C, L) in mV.
        draws: (V, DRAWS, B, C) uniform numbers for the augmentation of every lead.
        lead_draws: (V, C, B) uniform numbers that mask whole leads.
    """

    x: Tensor
    draws: Tensor
    lead_draws: Tensor

    def to(self, device: torch.device) -> Windows:
        """The same windows on a device. The numbers stay: what they choose has to be known without waiting for it."""
        return self._replace(x=self.x.to(device, non_blocking=True))

    def part(self, keep: slice) -> Windows:
        """Those of some recordings."""
        return Windows(self.x[:, keep], self.draws[:, :, keep], self.lead_draws[..., keep])


def draw_windows(x: Tensor, generator: Generator) -> Windows:
    """Windows in mV, (V, B, C, L), with the random numbers for their augmentation.

    Example:
        >>> windows = draw_windows(torch.zeros(2, 8, 12, 500), torch.Generator().manual_seed(0))
        >>> augmented(windows, 100.0, Augmentation(), Preprocessing()).shape
        torch.Size([2, 8, 12, 500])
    """
    v, b, c, _ = x.shape
    draws = torch.stack([draw_augmentation(b * c, generator).reshape(-1, b, c) for _ in range(v)])
    return Windows(x, draws, uniform(generator, v * c, b).reshape(v, c, b))


def joined(parts: list[Windows]) -> Windows:
    """The windows of several groups of recordings."""
    x, draws, lead_draws = zip(*parts)
    return Windows(torch.cat(x, 1), torch.cat(draws, 2), torch.cat(lead_draws, 2))


def augmented(
    windows: Windows, sampling_rate: float, augmentation: Augmentation, preprocessing: Preprocessing
) -> Tensor:
    """Augment and normalise windows on their device, (V, B, C, L).

    Noise and masks of the leads of a recording are independent of one another. A window of several leads may lose whole
    ones, ``augmentation.lead_mask_probability``.
    """
    v, b, c, length = windows.x.shape
    draws = windows.draws.transpose(0, 1).reshape(-1, v * b * c)  # every lead of every window is a row
    noisy = augment(windows.x.reshape(-1, length), sampling_rate, augmentation, draws)
    view = normalise(noisy, preprocessing).reshape(v * b, c, length)
    if augmentation.lead_mask_probability and c > 1:
        masking = windows.lead_draws.transpose(0, 1).reshape(c, v * b)
        view = mask_leads(view, augmentation.lead_mask_probability, masking)
    return view.reshape(v, b, c, length)
