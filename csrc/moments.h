// Sums and extremes of S and W over one tile, for L_d.
#pragma once

#include "task.h"
#include "tiles.h"

namespace ecgloss {
namespace {

// Extremes of a tile and the number of its entries that equal them, merged into those seen before.
template <class T>
void merge_extremes(const ForwardTask<T>& task, T low, T high) {
  const int32_t blocks[2] = {task.row_block, task.column_block};
  for (const int32_t block : blocks) {
    double &block_low = task.block_low[block], &block_high = task.block_high[block];
    block_low = low < block_low ? low : block_low;
    block_high = high > block_high ? high : block_high;
  }
  Extremes& best = *task.extremes;
  if (low > best.low && high < best.high) return;
  const Tile<T>& tile = task.tile;
  Extremes found{low, high, 0, 0, -1, -1};
  for (int64_t i = 0; i < tile.rows.count; ++i) {
    for (int64_t j = 0; j < tile.columns.count; ++j) {
      const T s = task.work.similarities[entry(tile, i, j)];
      if (s == low && found.low_ties++ == 0)
        found.low_row = tile.rows.begin + i, found.low_column = tile.columns.begin + j;
      found.high_ties += s == high;
    }
  }
  const int64_t copies = tile.mirrored ? 2 : 1;
  found.low_ties *= copies;
  found.high_ties *= copies;
  merge(best, found);
}

template <class T>
struct MomentSums {
  Vector<T> y, yy, yw, w, ww;
};

// Sums in three stages: eight rows and one strip in T, the rest in double. A long sum in T of nearly equal numbers
// would round in the same direction at every step.
template <class T>
struct TileMoments {
  Vector<T> low, high;
  MomentSums<T> rows = {}, strip = {};

  TileMoments() : low(broadcast(T(__builtin_inff()))), high(broadcast(T(-__builtin_inff()))) {}

  template <bool kGeneral>
  ECGLOSS_INLINE void add(Vector<T> s, Vector<T> weight, T origin, Vector<T> inside) {
    Vector<T> deviation = s - origin;
    if (kGeneral) {
      deviation *= inside;
      const Mask<T> valid = inside > T(0);
      low = minimum<T>(low, valid ? s : low);
      high = maximum<T>(high, valid ? s : high);
    } else {
      low = minimum<T>(low, s);
      high = maximum<T>(high, s);
    }
    rows.y += deviation;
    rows.yy += deviation * deviation;
    rows.yw += deviation * weight;
    rows.w += weight;
    rows.ww += weight * weight;
  }

  ECGLOSS_INLINE void fold() {
    strip.y += rows.y;
    strip.yy += rows.yy;
    strip.yw += rows.yw;
    strip.w += rows.w;
    strip.ww += rows.ww;
    rows = MomentSums<T>{};
  }

  void flush(Moments& total, double copies) {
    fold();
    total.y += copies * sum<T>(strip.y);
    total.yy += copies * sum<T>(strip.yy);
    total.yw += copies * sum<T>(strip.yw);
    total.w += copies * sum<T>(strip.w);
    total.ww += copies * sum<T>(strip.ww);
    strip = MomentSums<T>{};
  }

  T lowest() const {
    T x = low[0];
    for (int l = 1; l < kLanes<T>; ++l) x = low[l] < x ? low[l] : x;
    return x;
  }
  T highest() const {
    T x = high[0];
    for (int l = 1; l < kLanes<T>; ++l) x = high[l] > x ? high[l] : x;
    return x;
  }
};

}  // namespace
}  // namespace ecgloss
