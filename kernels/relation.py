"""Positives and negatives of a tile where a row has any number of positives: labels, features, a Gaussian kernel."""

from __future__ import annotations

import triton
import triton.language as tl

from . import prepare_features
from .primitives import LOG2E, load_rows

AT_ONCE = tl.constexpr(prepare_features.AT_ONCE)


@triton.jit
def load_planes(planes, rows, first, n_pad, WIDTH: tl.constexpr, PADDED: tl.constexpr):
    """WIDTH features from ``first`` on of some rows: high and low planes."""
    return load_rows(planes, rows, first, WIDTH, PADDED), load_rows(planes, rows + n_pad, first, WIDTH, PADDED)


@triton.jit
def load_features(row_values, rows, n_pad, RULE: tl.constexpr):
    """The planes of a block of rows if one product takes all features; :func:`cosines` loads them otherwise."""
    PADDED: tl.constexpr = RULE.width
    if RULE.kind == "features" and PADDED <= AT_ONCE:
        return load_planes(row_values, rows, 0, n_pad, PADDED, PADDED)
    else:
        return rows, rows


@triton.jit
def cosines(hi, lo, row_values, col_values, rows, cols, n_pad, m_pad, WIDTH: tl.constexpr):
    """Cosines of features, unit vectors in the planes of :mod:`.prepare_features`; equal for (i, k) and (k, i)."""
    if WIDTH <= AT_ONCE:
        col_hi, col_lo = load_planes(col_values, cols, 0, m_pad, WIDTH, WIDTH)
        # Triton makes a + b of products one chain of sums, which depends on the order of i and k; not so a - (-b).
        corrections = tl.dot(hi, tl.trans(col_lo)) - -tl.dot(lo, tl.trans(col_hi))
        return tl.dot(hi, tl.trans(col_hi), corrections)
    else:
        by_row = tl.zeros([rows.shape[0], cols.shape[0]], dtype=tl.float32)
        by_column = by_row
        total = by_row
        for first in range(0, WIDTH, AT_ONCE):
            row_hi, row_lo = load_planes(row_values, rows, first, n_pad, AT_ONCE, WIDTH)
            col_hi, col_lo = load_planes(col_values, cols, first, m_pad, AT_ONCE, WIDTH)
            by_row = tl.dot(row_hi, tl.trans(col_lo), by_row)
            by_column = tl.dot(row_lo, tl.trans(col_hi), by_column)
            total = tl.dot(row_hi, tl.trans(col_hi), total)
        return total + (by_row - -by_column)


@triton.jit
def equal_labels(row_labels, col_labels, rows, cols, n, m):
    """The pairs of a tile with equal labels."""
    row = tl.load(row_labels + rows, mask=rows < n, other=0)
    col = tl.load(col_labels + cols, mask=cols < m, other=0)
    return row[:, None] == col[None, :]


@triton.jit
def distance(row_values, col_values, rows, cols, n, m, WIDTH: tl.constexpr):
    """Squared distances of metadata."""
    total = tl.zeros([rows.shape[0], cols.shape[0]], dtype=tl.float32)
    for dimension in range(0, WIDTH):
        y = tl.load(row_values + rows * WIDTH + dimension, mask=rows < n, other=0.0)
        other = tl.load(col_values + cols * WIDTH + dimension, mask=cols < m, other=0.0)
        difference = y[:, None] - other[None, :]
        total += difference * difference
    return total


@triton.jit
def classify(cosine, row_labels, col_labels, rows, cols, n, m, threshold, RULE: tl.constexpr):
    """Positives and negatives of a tile by labels or by cosines of features, 1 or 0 each, before exclusions.

    Numbers, as masks that outlive a branch would be packed into registers and unpacked again.
    """
    # Code after a return in a constant branch is compiled too, hence if and else.
    if RULE.kind == "labels":
        positive = tl.where(equal_labels(row_labels, col_labels, rows, cols, n, m), 1.0, 0.0)
        return positive, 1 - positive
    else:
        positive = cosine >= threshold
        negative = cosine < threshold
        if RULE.labelled:
            equal = equal_labels(row_labels, col_labels, rows, cols, n, m)
            positive = positive | equal
            if not RULE.overlap:
                negative = negative & ~equal
        return tl.where(positive, 1.0, 0.0), tl.where(negative, 1.0, 0.0)


@triton.jit
def log_gaussian(row_values, col_values, rows, cols, n, m, RULE: tl.constexpr):
    """log2 of the weight of every pair as a positive; each pair is a negative as well."""
    return -LOG2E * distance(row_values, col_values, rows, cols, n, m, RULE.width)
