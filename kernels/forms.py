"""What kernels are compiled for: a rule in a few words, and where vectors lie in memory.

A batch of rows (or of columns) is held as ``u``, (rows padded to whole blocks, D padded): z scaled by a power of two,
in z's own dtype, so that products are exact; and ``side``, (lines, padded rows) fp32, one of the vectors below per
line. Padding is zero.
"""

from __future__ import annotations

from typing import NamedTuple

import triton.language as tl

PAD = tl.constexpr(128)  # rows are padded to a multiple of this, the largest block

# Lines of side.
INVERSE = tl.constexpr(0)  # z^ = inverse * u
NORM = tl.constexpr(1)  # 1 / max(|z|, 1e-12)
BASE = tl.constexpr(2)  # S against the first row: a typical value, from which deviations are counted
POSITIVE = tl.constexpr(3)  # S against the single positive; TOP of the positives where they are dense
COUNT = tl.constexpr(2)  # in place of BASE: sum of the weights of dense positives
TOP = tl.constexpr(4)  # what the exponents of the row's negatives are counted from, in powers of two
LOW = tl.constexpr(5)  # least S of the row
POSITIVE_MASS = tl.constexpr(5)  # in place of LOW: MASS of dense positives
MISSING = tl.constexpr(6)  # f sqrt(log2 e): exp2(-x y) is the reliability of a pair
NEGATIVE = tl.constexpr(7)  # negative_lse
MASS = tl.constexpr(8)  # sum over the negatives of omega 2^(x - TOP), before the factor of the row; 0 if there are none
RISK = tl.constexpr(9)  # this line and those after it: risks, centred and scaled so that sum |x - y|^q is D - alpha

# Lines of the statistics that parts of a row leave behind.
TOTAL = tl.constexpr(0)  # sum of omega 2^(x - maximum) over the negatives
MAXIMUM = tl.constexpr(1)
NORMALISER = tl.constexpr(2)  # sum of W, or of e^W
DEVIATION = tl.constexpr(3)  # sums over all columns of X = S - base, X^2, X W, W and W^2, and the least X
DEVIATION_SQUARED = tl.constexpr(4)
DEVIATION_WEIGHTED = tl.constexpr(5)
WEIGHT = tl.constexpr(6)
WEIGHT_SQUARED = tl.constexpr(7)
LEAST = tl.constexpr(8)
POSITIVE_TOTAL = tl.constexpr(2)  # of dense positives: sum of 2^(x + log2 w - maximum), sum of w S, sum of w
POSITIVE_MAXIMUM = tl.constexpr(3)
POSITIVE_SUM = tl.constexpr(4)
POSITIVE_COUNT = tl.constexpr(5)
STATISTICS = 9

# Lines of the sums that blocks of rows leave behind, fp64.
SUM_ENTROPY = tl.constexpr(0)
SUM_X = tl.constexpr(1)  # X = S - CENTRE
SUM_X2 = tl.constexpr(2)
SUM_XW = tl.constexpr(3)
SUM_W = tl.constexpr(4)
SUM_W2 = tl.constexpr(5)
SUM_LOWEST = tl.constexpr(6)  # least and largest S
SUM_HIGHEST = tl.constexpr(7)
SUMS = 8

# Numbers a batch leaves behind.
NEUTRAL = tl.constexpr(0)  # D - alpha of pairs with an unknown risk
FALLBACK = tl.constexpr(1)  # mean of D
BUMP = tl.constexpr(2)  # 1 where all risks are equal and nothing else would make weights positive
STRETCH = tl.constexpr(3)  # S^ = stretch (S - start)
START = tl.constexpr(4)
ERROR_BY_LOW = tl.constexpr(5)  # derivative of the squared error with respect to min S
LOWEST = tl.constexpr(6)  # min S
CENTRE = tl.constexpr(7)  # S of some pair: a typical value, from which sums over pairs are counted
NUMBERS = 8

# Lines of the coefficients of a backward pass, and its numbers.
GAIN = tl.constexpr(0)  # of the negatives' exponentials, which are counted from TOP
GAIN_TOP = tl.constexpr(1)
GAIN_POSITIVE = tl.constexpr(2)  # of the single positive; of the exponentials of dense positives
GAIN_POSITIVE_TOP = tl.constexpr(3)
GAIN_POSITIVE_SUM = tl.constexpr(4)
GAIN_CENTRE = tl.constexpr(5)  # S near the mean of the row's negatives by their exponentials: rows with one positive
GAIN_MOMENT = tl.constexpr(6)  # sum of dL/dS over a row's pairs, each times the S from which the tiles count its S
GAINS = 7
UNSCALE = tl.constexpr(0)  # gradients are computed in a unit in which half precision holds them
ALIGN_CONSTANT = tl.constexpr(1)  # dL/dS of the squared error is constant + slope S + weight W, both ways of a pair
ALIGN_SLOPE = tl.constexpr(2)
ALIGN_WEIGHT = tl.constexpr(3)
GAIN_LOW = tl.constexpr(4)  # of min S
GAIN_ORIGIN = tl.constexpr(5)  # CENTRE
SCALES = 6

NO_SHIFT = 1 << 30  # a shift no pair has


class Weights(NamedTuple):
    """How negatives weigh, where a row has at most one positive.

    Attributes:
        norm: ``"uniform"``, or what is done to the risks' W: ``"none"``, ``"mean"``, ``"softmax"``.
        risks: Numbers per sample.
        power: q.
        unknown: Whether risks may be NaN.
        clip: Whether the scaled difference of risks is cut at 1.
        reliability: ``"none"``, ``"multiply"`` or ``"revert"``.
    """

    norm: str = "uniform"
    risks: int = 0
    power: int = 2
    unknown: bool = False
    clip: bool = False
    reliability: str = "none"


class Relation(NamedTuple):
    """What makes positives, where a row may have many.

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
