// Arguments of the tile kernels: what a tile reads, the sums it adds to, and the scratch of its thread.
#pragma once

#include "problem.h"

namespace ecgloss {

// Sums over the pairs of a tile, each pair of a mirrored tile counted twice. Y = S - origin.
struct Moments {
  double y = 0, yy = 0, yw = 0, w = 0, ww = 0;
};

// Extremes of S, the number of entries that equal them, and the first pair in row order that has the lowest.
struct Extremes {
  double low, high;
  int64_t low_ties, high_ties;
  int64_t low_row, low_column;
};

static inline bool low_precedes(const Extremes& a, const Extremes& b) {
  return a.low_row != b.low_row ? a.low_row < b.low_row : a.low_column < b.low_column;
}

// best = the extremes of both sets; the result does not depend on the order of merging.
static inline void merge(Extremes& best, const Extremes& found) {
  if (found.low < best.low || (found.low == best.low && low_precedes(found, best))) {
    best.low_row = found.low_row, best.low_column = found.low_column;
  }
  best.low_ties = found.low < best.low ? found.low_ties : best.low_ties + (found.low == best.low ? found.low_ties : 0);
  best.high_ties =
      found.high > best.high ? found.high_ties : best.high_ties + (found.high == best.high ? found.high_ties : 0);
  best.low = found.low < best.low ? found.low : best.low;
  best.high = found.high > best.high ? found.high : best.high;
}

// An online softmax per row: log sum_k omega e^(S/tau) = log row_sum + row_max / tau.
template <class T>
struct Softmax {
  double* row_sum = nullptr;  // [n] sum of omega e^((S - row_max)/tau)
  T* row_max = nullptr;       // [padded n] largest S of positive weight; null where 1 is the fixed maximum
};

// Sums of the forward over rows or, in a mirrored tile, over columns.
template <class T>
struct RowState {
  Softmax<T> negative, positive;
  double* similarity = nullptr;  // [n] sum of w S over the positives
  double* count = nullptr;       // [n] sum of w
};

// dL/d(log-sum-exp of a row) as the backward uses it per pair, for rows or columns.
template <class T>
struct RowGains {
  const T* negative = nullptr;  // [padded n] g e^(row_max/tau - lse) / tau
  const T* positive = nullptr;
  const T* similarity = nullptr;    // [padded n] g_sum / tau
  const T* negative_max = nullptr;  // [padded n] row_max = tau lse; null where 1 is the fixed maximum
  const T* positive_max = nullptr;
};

// dL_d/dS = scale (stretch Y + W + shift), doubled in a square problem, plus the gradients of the extremes.
template <class T>
struct AlignmentGradient {
  T scale = 0, stretch = 0, shift = 0;
  T low = 0, high = 0;                    // extremes of S
  T low_gradient = 0, high_gradient = 0;  // per entry, shared evenly by ties
};

// Scratch of one thread.
template <class T>
struct Workspace {
  T* similarities;  // S: [panels of columns][rows][kPanel]
  T* gradient;      // G: the same shape
  T* transposed;    // G^T: [panels of rows][columns][kPanel]
  T* keep;          // 0 for excluded and padded pairs, else 1
  T* features;      // C_ik of the feature rule
  T* row_sums;      // [4][rows][lanes]
};

template <class T>
struct ForwardTask {
  const Problem<T>* problem;
  Tile<T> tile;
  Tile<T> upcoming;  // what this thread will probably compute next
  Workspace<T> work;
  RowState<T> rows, columns;       // added to
  Moments* moments;                // added to
  Extremes* extremes;              // merged into: of all tiles of this thread
  double *block_low, *block_high;  // merged into: [panels of q] extremes of S in the tiles of every block of rows
  int32_t row_block, column_block;
};

template <class T>
struct BackwardTask {
  const Problem<T>* problem;
  Tile<T> tile;
  Tile<T> upcoming;  // what this thread will probably compute next
  Workspace<T> work;
  RowGains<T> row_gains, column_gains;
  AlignmentGradient<T> alignment;
  bool has_extremes;           // this tile may hold the lowest or the highest S
  const T* positive_gradient;  // [n] dL/dS of the single positives; null: none
  T* row_gradient;             // panels of dL/dq^, added to
  T* column_gradient;          // panels of dL/dk^, added to; null: not wanted
  bool first_of_rows;          // no tile has added to the gradient of this block of rows: it is overwritten
  bool first_of_columns;
  double* weighted_gradient;  // sum of (dL/dS without L_d) (S - origin), added to; null: not wanted
};

}  // namespace ecgloss
