"""Augmentations: recording noise, a run of zeros, and the choice of a lead per view, as in CLEF (arXiv 2512.02180).

Besides, as in other work on contrastive learning of ECGs: shifts in time and random amplitudes, both off by default.

All are batched and pure: the input is never changed. What is random comes from ``draws``: a generator on the device of
the signals, or uniform numbers that were drawn before, :func:`draw_augmentation`. With the latter, loaders draw and any
device augments, with the same result; what is chosen is then known on the CPU, and nothing waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ecgloss.data.draws import Draws, uniform
from ecgloss.data.noise import MAKERS
from ecgloss.data.noise_bank import DRAWS as NOISE_DRAWS
from ecgloss.data.noise_bank import from_bank

NONE = "none"
NOISES = (NONE, *MAKERS)
CLEF_NOISES = (NONE, "motion", "electrode", "baseline", "mixture")
_SCALE, _SHIFT, _MASK = 1, 1, 3  # numbers per row
DRAWS = _SCALE + _SHIFT + 1 + NOISE_DRAWS + _MASK  #: Uniform numbers that :func:`augment` takes for every row.


@dataclass(frozen=True)
class Augmentation:
    """The augmentation of a view.

    Attributes:
        noise_rms: Root mean square of the noise over the window, in mV.
        noises: Kinds of noise, one of which is chosen for each view: none, motion, electrode, baseline, mixture, mains.
        noise_folder: Folder with the records bw, em and ma of the MIT-BIH noise stress test database (physionet.org/
            content/nstdb): baseline, electrode and motion are then taken from them instead of being simulated.
        mask_probability: Probability that one run of samples of a view is set to zero.
        mask_fraction: Shortest and longest such run, as fractions of the window.
        lead_mask_probability: Probability that a lead is set to zero in a view of several leads; one stays at least.
        shift_s: Longest shift of a view in time, in seconds, earlier or later; zeros come in at the end.
        scale: Least and largest factor of the amplitude of a view, before noise is added.
    """

    noise_rms: float = 0.1
    noises: tuple[str, ...] = CLEF_NOISES
    noise_folder: str | None = None
    mask_probability: float = 0.2
    mask_fraction: tuple[float, float] = (0.1, 0.3)
    lead_mask_probability: float = 0.0
    shift_s: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        if not 0 <= self.noise_rms < float("inf"):
            raise ValueError(f"noise_rms must be finite and at least 0 mV; got {self.noise_rms}")
        unknown = [name for name in self.noises if name not in NOISES]
        if unknown or not self.noises:
            raise ValueError(
                f"noises must name some of {', '.join(NOISES)}; got {', '.join(self.noises) or 'none at all'}"
            )
        if not 0 <= self.mask_probability <= 1:
            raise ValueError(f"mask_probability must lie in [0, 1]; got {self.mask_probability}")
        if not 0 <= self.lead_mask_probability < 1:
            raise ValueError(f"lead_mask_probability must lie in [0, 1); got {self.lead_mask_probability}")
        if not 0 <= self.shift_s < float("inf"):
            raise ValueError(f"shift_s must be finite and at least 0 s; got {self.shift_s}")
        if not 0 < self.scale[0] <= self.scale[1] < float("inf"):
            raise ValueError(f"scale must satisfy 0 < least <= largest; got {self.scale}")
        low, high = self.mask_fraction
        if not 0 <= low <= high <= 1:
            raise ValueError(f"mask_fraction must satisfy 0 <= shortest <= longest <= 1; got {self.mask_fraction}")


def draw_augmentation(rows: int, generator: Generator) -> Tensor:
    """Draw all random numbers of :func:`augment`, (DRAWS, rows), for use on any device.

    Example:
        >>> x, draws = torch.zeros(2, 500), draw_augmentation(2, torch.Generator().manual_seed(0))
        >>> y, z = (augment(x, 100.0, Augmentation(), draws) for _ in range(2))
        >>> torch.equal(y, z)
        True
    """
    return uniform(generator, DRAWS, rows)


def augment(x: Tensor, sampling_rate: float, augmentation: Augmentation, draws: Draws) -> Tensor:
    """Scale and shift every row, add noise, then set a run of samples to zero in some rows.

    Args:
        x: (B, L) signals in mV.
        sampling_rate: Hz.
        augmentation: What to do.
        draws: Source of randomness: a generator, or (DRAWS, B) uniform numbers on any device.

    Returns:
        (B, L), a new tensor.

    Raises:
        ValueError: if x is not (B, L), the sampling rate is not positive, or the draws have another shape.

    Example:
        >>> x = torch.zeros(2, 500)
        >>> y = augment(x, 100.0, Augmentation(noises=("baseline",), mask_probability=0.0), torch.Generator())
        >>> round(float(y.square().mean().sqrt()), 3)
        0.1
    """
    rows, _ = _shape(x)
    sizes = (_SCALE, _SHIFT, 1 + NOISE_DRAWS, _MASK)
    scaling, shifting, noise, masking = uniform(draws, DRAWS, rows).split(sizes)
    if augmentation.scale != (1.0, 1.0):
        x = scale(x, augmentation.scale, scaling)
    if augmentation.shift_s:
        x = shift(x, round(augmentation.shift_s * sampling_rate), shifting)
    noisy = add_noise(
        x, sampling_rate, augmentation.noises, augmentation.noise_rms, noise, folder=augmentation.noise_folder
    )
    return mask_run(noisy, augmentation.mask_probability, augmentation.mask_fraction, masking)


def scale(x: Tensor, limits: tuple[float, float], draws: Draws) -> Tensor:
    """Multiply every row by a factor, uniform between two limits in its logarithm.

    Raises:
        ValueError: if x is not (B, L).

    Example:
        >>> y = scale(torch.ones(3, 2), (0.5, 2.0), torch.Generator().manual_seed(0))
        >>> bool(((y >= 0.5) & (y <= 2.0)).all()), bool((y[:, 0] == y[:, 1]).all())
        (True, True)
    """
    rows, _ = _shape(x)
    low, high = limits
    draw = uniform(draws, _SCALE, rows)[0, :, None].to(x.device)
    return x * (low * (high / low) ** draw).to(x.dtype)


def shift(x: Tensor, most: int, draws: Draws) -> Tensor:
    """Shift every row by up to ``most`` samples, earlier or later; zeros come in at the end.

    Raises:
        ValueError: if x is not (B, L).

    Example:
        >>> x = torch.arange(1.0, 6.0)[None]
        >>> sorted({tuple(shift(x, 1, torch.Generator().manual_seed(k))[0].tolist()) for k in range(9)})
        [(0.0, 1.0, 2.0, 3.0, 4.0), (1.0, 2.0, 3.0, 4.0, 5.0), (2.0, 3.0, 4.0, 5.0, 0.0)]
    """
    rows, length = _shape(x)
    steps = (uniform(draws, _SHIFT, rows)[0, :, None] * (2 * most + 1)).long().to(x.device) - most
    source = torch.arange(length, device=x.device) + steps
    inside = (source >= 0) & (source < length)
    return torch.where(inside, x.gather(1, source.clamp(0, length - 1)), torch.zeros_like(x))


def add_noise(
    x: Tensor,
    sampling_rate: float,
    noises: Sequence[str],
    rms: float,
    draws: Draws,
    *,
    folder: str | None = None,
) -> Tensor:
    """Add one kind of noise per row, chosen uniformly from ``noises``, with the given root mean square in mV.

    Args:
        x: (B, L) signals in mV.
        sampling_rate: Hz.
        noises: Names of kinds.
        rms: Of the noise, in mV.
        draws: Source of randomness.
        folder: Where recorded noise is; None: noise is simulated.

    Raises:
        ValueError: if x is not (B, L), the sampling rate is not positive, or the folder has no noise.
    """
    rows, length = _shape(x)
    if not sampling_rate > 0:
        raise ValueError(f"sampling_rate must be positive; got {sampling_rate} Hz")
    kinds, windows = uniform(draws, 1 + NOISE_DRAWS, rows).split((1, NOISE_DRAWS))
    chosen = (kinds[0] * len(noises)).long()
    result = x.clone()
    for kind, name in enumerate(noises):
        if name == NONE:
            continue
        places = (chosen == kind).nonzero()[:, 0]
        if len(places):
            noise = from_bank(name, length, sampling_rate, windows[:, places].to(x.device), folder).to(x.dtype)
            result.index_add_(0, places.to(x.device), noise, alpha=rms)
    return result


def mask_run(x: Tensor, probability: float, fraction: tuple[float, float], draws: Draws) -> Tensor:
    """Set one run of samples to zero in some rows; its length is uniform between the fractions of the window.

    Raises:
        ValueError: if x is not (B, L).

    Example:
        >>> y = mask_run(torch.ones(1, 10), 1.0, (0.3, 0.3), torch.Generator().manual_seed(0))
        >>> int((y == 0).sum())
        3
    """
    rows, length = _shape(x)
    masked, size, place = uniform(draws, _MASK, rows)[..., None]
    low, high = fraction
    run = torch.round((low + (high - low) * size) * length)
    start = torch.floor(place * (length - run + 1))
    chosen = (masked[:, 0] < probability).nonzero()[:, 0]
    first, end, chosen = (part.to(x.device) for part in (start[chosen], (start + run)[chosen], chosen))
    position = torch.arange(length, device=x.device)
    inside = (position >= first) & (position < end)
    result = x.clone()
    result[chosen] = x[chosen].masked_fill(inside, 0.0)
    return result


def mask_leads(x: Tensor, probability: float, draws: Draws) -> Tensor:
    """Set random leads to zero; at least one of every recording stays.

    Args:
        x: (B, C, L) signals.
        probability: Of each lead, in [0, 1).
        draws: Source of randomness: a generator, or (C, B) uniform numbers.

    Returns:
        (B, C, L), a new tensor.

    Raises:
        ValueError: if x is not (B, C, L) or the probability is outside [0, 1).

    Example:
        >>> y = mask_leads(torch.ones(4, 12, 1), 0.5, torch.Generator().manual_seed(0))
        >>> y.sum((1, 2)).tolist()
        [3.0, 7.0, 4.0, 6.0]
    """
    if x.dim() != 3:
        raise ValueError(f"x must have shape (B, C, L); got {tuple(x.shape)}")
    if not 0 <= probability < 1:
        raise ValueError(f"probability must lie in [0, 1); got {probability}")
    draw = uniform(draws, x.shape[1], x.shape[0]).T.to(x.device)
    kept = (draw >= probability) | (draw == draw.amax(1, keepdim=True))
    return torch.where(kept[..., None], x, torch.zeros_like(x))


def shared_lead_choice(
    n_leads: Sequence[int] | Tensor, same_probability: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Draw the number of a lead for each of two views.

    Args:
        n_leads: (B,) number of leads of each recording, at least 1.
        same_probability: Probability that both views have the same lead; otherwise they have two different ones.
        generator: Source of randomness.

    Returns:
        (B,) and (B,) lead numbers. A recording with one lead shows it twice.

    Raises:
        ValueError: if a recording has no lead, or the probability is outside [0, 1].

    Example:
        >>> first, second = shared_lead_choice([12, 1, 2], 0.0, torch.Generator().manual_seed(0))
        >>> bool(first[0] != second[0]), int(second[1]), int(first[2] + second[2])
        (True, 0, 1)
    """
    leads = torch.as_tensor(n_leads, device=generator.device)
    if bool((leads < 1).any()):
        raise ValueError(f"n_leads must be at least 1 for every recording; got {int(leads.min())}")
    if not 0 <= same_probability <= 1:
        raise ValueError(f"same_probability must lie in [0, 1]; got {same_probability}")
    one, step, coin = torch.rand(3, len(leads), generator=generator, device=generator.device)
    first = (one * leads).long()
    other = (first + 1 + (step * (leads - 1)).long()) % leads  # first + 1 to first + n - 1, modulo n
    return first, torch.where(coin < same_probability, first, other)


def _shape(x: Tensor) -> tuple[int, int]:
    """Return B and L of a batch of signals, or refuse another shape."""
    if x.dim() != 2:
        raise ValueError(f"x must have shape (B, L); got {tuple(x.shape)}")
    return x.shape[0], x.shape[1]
