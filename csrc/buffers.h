// The two buffers that the forward leaves for the backward. Python allocates them (ecgloss/engine/cpp.py): `packed`, of
// the type of the computation, and `saved`, of doubles.
#pragma once

#include <cstdint>

#include "panel.h"
#include "risk.h"

namespace ecgloss {

struct Sizes {
  int64_t n;      // rows of q, both parts
  int64_t first;  // rows of the first part of q
  int64_t m;      // rows of k; n where k is q
  int64_t width;  // of the embeddings
};

// Unit rows as panels, and the norms of the rows. Where k is q, both have one copy.
template <class T>
struct PackedBuffer {
  T *q, *k;              // panels of q and k
  T *q_norms, *k_norms;  // [padded n], [padded m]

  static int64_t size(const Sizes& sizes, bool square) {
    return (panels_of(sizes.n) + (square ? 0 : panels_of(sizes.m))) * kPanel * (sizes.width + 1);
  }

  static PackedBuffer at(T* start, const Sizes& sizes, bool square) {
    const int64_t rows = panels_of(sizes.n) * kPanel, columns = square ? 0 : panels_of(sizes.m) * kPanel;
    T* norms = start + (rows + columns) * sizes.width;
    return square ? PackedBuffer{start, start, norms, norms}
                  : PackedBuffer{start, start + rows * sizes.width, norms, norms + rows};
  }
};

// Numbers of the whole batch; every field is a double.
struct Scalars {
  RiskNumbers risk;
  double contrastive = 0;  // L_w; 0 without single positives
  double alignment = 0;    // L_d; 0 where it is not asked for
  double origin = 0;       // of Y = S - origin
  double low = 0, high = 0, low_ties = 0,
         high_ties = 0;                         // extremes of S as tiles compute it, entries that get gradient
  double range_low = 0, range_high = 0;         // extremes that scale S
  double y = 0, yy = 0, yw = 0, w = 0, ww = 0;  // moments over all n m pairs
};

struct SavedBuffer {
  // [n] each. The lse of the negatives is without its normaliser.
  double *negative_lse, *positive_lse, *log_normaliser, *positive_count;
  double *block_low, *block_high;  // [panels of q] extremes of S in the tiles of each block of rows
  Scalars* scalars;

  static int64_t size(int64_t n) {
    return 4 * n + 2 * panels_of(n) + static_cast<int64_t>(sizeof(Scalars) / sizeof(double));
  }

  static SavedBuffer at(double* start, int64_t n) {
    double* blocks = start + 4 * n;
    double* scalars = blocks + 2 * panels_of(n);
    return {start,
            start + n,
            start + 2 * n,
            start + 3 * n,
            blocks,
            blocks + panels_of(n),
            reinterpret_cast<Scalars*>(scalars)};
  }
};

}  // namespace ecgloss
