"""Positives and negatives of a tile where a row has any number of positives: labels, features, a Gaussian kernel."""

from __future__ import annotations

import triton
import triton.language as tl

from .primitives import LOG2E

AT_ONCE = tl.constexpr(16)  # features per product


@triton.jit
def load_table(table, index, n, first, WIDTH: tl.constexpr):
    """Columns first .. first + AT_ONCE of some rows of (n, WIDTH), zero outside."""
    columns = first + tl.arange(0, AT_ONCE)
    mask = (index < n)[:, None] & (columns < WIDTH)[None, :]
    return tl.load(table + index.to(tl.int64)[:, None] * WIDTH + columns[None, :], mask=mask, other=0.0)


@triton.jit
def cosines(row_values, col_values, rows, cols, n, m, WIDTH: tl.constexpr):
    """Cosines of features (unit vectors) in exact fp32: all backends must agree on the threshold.

    A few columns per product, which stay in registers.
    """
    total = tl.zeros([rows.shape[0], cols.shape[0]], dtype=tl.float32)
    for first in range(0, WIDTH, AT_ONCE):
        a = load_table(row_values, rows, n, first, WIDTH)
        b = load_table(col_values, cols, m, first, WIDTH)
        total = tl.dot(a, tl.trans(b), total, input_precision="ieee")
    return total


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
def classify(row_values, col_values, row_labels, col_labels, rows, cols, n, m, threshold, RULE: tl.constexpr):
    """Positives and negatives of a tile by labels or features, before exclusions."""
    # Code after a return in a constant branch is compiled too, hence if and else.
    if RULE.kind == "labels":
        positive = equal_labels(row_labels, col_labels, rows, cols, n, m)
        return positive, ~positive
    else:
        cosine = cosines(row_values, col_values, rows, cols, n, m, RULE.width)
        positive = cosine >= threshold
        negative = cosine < threshold
        if RULE.labelled:
            equal = equal_labels(row_labels, col_labels, rows, cols, n, m)
            positive = positive | equal
            if not RULE.overlap:
                negative = negative & ~equal
        return positive, negative


@triton.jit
def log_gaussian(row_values, col_values, rows, cols, n, m, RULE: tl.constexpr):
    """log2 of the weight of every pair as a positive; each pair is a negative as well."""
    return -LOG2E * distance(row_values, col_values, rows, cols, n, m, RULE.width)
