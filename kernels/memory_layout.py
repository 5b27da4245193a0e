"""The constants of a compiled rule, and the line of every vector in the buffers that kernels share.

A batch of rows (or of columns) is held in two buffers. ``u``, (padded rows, padded D), is z times a power of two, in
z's own dtype, so that products are exact. ``row_vectors``, (lines, padded rows) fp32, has one number per row in each of
the lines below. Padding is zero.
"""

from __future__ import annotations

from typing import NamedTuple

import triton.language as tl

PAD = tl.constexpr(128)  # rows are padded to a multiple of the largest block

# Lines of row_vectors.
INVERSE = tl.constexpr(0)  # 1 / |u|: z^ = inverse u
INVERSE_NORM = tl.constexpr(1)  # 1 / max(|z|, 1e-12)
ROW_ORIGIN = tl.constexpr(2)  # S of the row and column 0, from which the forward counts the row's S (min-max)
POSITIVE = tl.constexpr(3)  # S of the row and its single positive
ROW_MAX = tl.constexpr(4)  # log2; the negatives' exponentials are 2^(x - row_max)
ROW_MINIMUM = tl.constexpr(5)  # min_k S_ik (min-max)
MISSING = tl.constexpr(6)  # f, scaled as weight.py needs it
NEGATIVE_LSE = tl.constexpr(7)
ROW_SUM = tl.constexpr(8)  # sum over the negatives of omega 2^(x - row_max) without the normaliser; 0 without negatives
MEAN_S = tl.constexpr(9)  # mean of S over the negatives, each weighing omega e^(S / tau)
RISK = tl.constexpr(10)  # from this line on: risks, centred and scaled so that sum |x - y|^q = D - alpha
# Lines of rules with many positives, which have no other use for these.
COUNT = tl.constexpr(2)  # sum of the positives' weights
POSITIVE_ROW_MAX = tl.constexpr(3)
POSITIVE_ROW_SUM = tl.constexpr(5)
POSITIVE_MEAN_S = tl.constexpr(6)  # mean of S over the positives, each weighing w e^(S / tau)
POSITIVE_SUM = tl.constexpr(7)  # sum of w S

# Lines of partials, (splits, PARTIALS, padded rows): sums over one part of a row's columns.
PARTIAL_SUM = tl.constexpr(0)  # sum of omega 2^(x - maximum) over the negatives
PARTIAL_MAX = tl.constexpr(1)
PARTIAL_NORMALISER = tl.constexpr(2)  # sum of W, or of e^W
PARTIAL_Y = tl.constexpr(3)  # moments over all columns of Y = S - row origin and of W, and min Y
PARTIAL_Y2 = tl.constexpr(4)  # for "cosine": sum of (S - 1 + W)^2
PARTIAL_YW = tl.constexpr(5)
PARTIAL_W = tl.constexpr(6)
PARTIAL_W2 = tl.constexpr(7)
PARTIAL_MINIMUM = tl.constexpr(8)
PARTIAL_S = tl.constexpr(9)  # sum of S omega 2^(x - maximum) over the negatives
PARTIAL_POSITIVE_SUM = tl.constexpr(2)  # many positives of weight w: sum of w 2^(x - maximum)
PARTIAL_POSITIVE_MAX = tl.constexpr(3)
PARTIAL_POSITIVE_S = tl.constexpr(4)  # sum of w S
PARTIAL_POSITIVE_COUNT = tl.constexpr(5)  # sum of w
PARTIAL_POSITIVE_E_S = tl.constexpr(6)  # sum of S w 2^(x - maximum)
PARTIALS = 10

# Lines of sums, (SUMS, programs) fp64: sums over one block of rows.
SUM_CONTRASTIVE = tl.constexpr(0)  # sum_i log(1 + e^(negative_lse_i - positive_i))
SUM_Y = tl.constexpr(1)  # moments of Y = S - origin and of W
SUM_Y2 = tl.constexpr(2)
SUM_YW = tl.constexpr(3)
SUM_W = tl.constexpr(4)
SUM_W2 = tl.constexpr(5)
SUM_MINIMUM = tl.constexpr(6)  # min S and max S of the block
SUM_MAXIMUM = tl.constexpr(7)
SUMS = 8

# Entries of numbers, (NUMBERS,) fp32: scalars of the batch.
NEUTRAL = tl.constexpr(0)  # D - alpha of pairs with an unknown risk
FALLBACK = tl.constexpr(1)  # mean of D
ALL_EQUAL = tl.constexpr(2)  # 1 where all risks are equal and alpha is 0: every W is 0
STRETCH = tl.constexpr(3)  # S^ = stretch (S - start)
START = tl.constexpr(4)
ALIGNMENT_BY_MINIMUM = tl.constexpr(5)  # dL_d / d min S
MINIMUM = tl.constexpr(6)  # min S
ORIGIN = tl.constexpr(7)  # S of one pair, a typical value: sums over all pairs count S from it
NUMBERS = 8

# Lines of gains, (GAINS, padded rows) fp32: dL / d(statistic of a row) as a pair's gradient uses it.
GAIN_NEGATIVE = tl.constexpr(0)  # factor of the negatives' exponentials 2^(x - row_max)
GAIN_ROW_MAX = tl.constexpr(1)
GAIN_POSITIVE = tl.constexpr(2)  # factor of the single positive; with many, of their exponentials
GAIN_POSITIVE_ROW_MAX = tl.constexpr(3)
GAIN_POSITIVE_SUM = tl.constexpr(4)  # factor of positive_sum
GAIN_TAU = tl.constexpr(5)  # sum_k A_ik S_ik, A = dL/dS: -tau dL/dtau of the row
GAINS = 6

# Entries of scales, (SCALES,) fp32: scalars of the backward pass.
UNSCALE = tl.constexpr(0)  # gradients are computed 1 / unscale times too large, to fit half precision
ALIGNMENT_CONSTANT = tl.constexpr(1)  # dL_d/dS of (i, k) and (k, i) together: constant + per_s S + per_w W
ALIGNMENT_PER_S = tl.constexpr(2)
ALIGNMENT_PER_W = tl.constexpr(3)
GAIN_MINIMUM = tl.constexpr(4)  # dL / d min S, both ways of a pair
SCALES = 5

NO_SHIFT = 1 << 30  # stands for an absent shift: no column - row is that large


class Weights(NamedTuple):
    """How negatives weigh, where a row has at most one positive.

    Attributes:
        norm: ``"uniform"`` (omega = 1), or how omega follows from W: ``"none"``, ``"mean"``, ``"softmax"``.
        risks: Risks per sample.
        power: The exponent q of the distance.
        unknown: Whether risks may be NaN.
        clip: Whether the scaled distance of risks is cut at 1.
        reliability: ``"none"``, ``"multiply"`` or ``"revert"``.
    """

    norm: str = "uniform"
    risks: int = 0
    power: int = 2
    unknown: bool = False
    clip: bool = False
    reliability: str = "none"


class Relation(NamedTuple):
    """Which pairs are positives, where a row may have many.

    Attributes:
        kind: ``"labels"``, ``"features"`` or ``"gaussian"``.
        width: Features or metadata per row.
        labelled: Whether features come with labels.
        overlap: Whether dissimilar features of equal labels are negatives too.
    """

    kind: str
    width: int = 0
    labelled: bool = False
    overlap: bool = False
