// Sums and extremes of S and W over one tile, for L_d.
#pragma once

#include "task.h"
#include "tiles.h"

namespace ecgloss {
namespace {

// Finds the first pair of a tile in row order that has the lowest S.
template <class T>
void find_low(const ForwardTask<T>& task, Extremes& found) {
  const Tile<T>& tile = task.tile;
  for (int64_t i = 0; i < tile.rows.count; ++i) {
    for (int64_t j = 0; j < tile.columns.count; ++j) {
      if (task.work.similarities[entry(tile, i, j)] != static_cast<T>(found.low)) continue;
      found.low_row = tile.rows.begin + i, found.low_column = tile.columns.begin + j;
      return;
    }
  }
}

// Merges the extremes of a tile into those of its blocks and into those of the thread.
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
  Mask<T> low_equal = {}, high_equal = {};  // minus the number of equal entries per lane
  for (int64_t jp = 0; jp < tile.columns.panels; ++jp) {
    const int64_t valid = tile.columns.count - jp * kPanel, columns = valid < kPanel ? valid : kPanel;
    for (int64_t i = 0; i < tile.rows.count; ++i) {
      const T* row = task.work.similarities + (jp * tile.rows.panels * kPanel + i) * kPanel;
      int64_t j = 0;
      for (; j + kLanes<T> <= columns; j += kLanes<T>) {
        const Vector<T> s = load(row + j);
        low_equal += s == broadcast(low);
        high_equal += s == broadcast(high);
      }
      for (; j < columns; ++j) found.low_ties += row[j] == low, found.high_ties += row[j] == high;
    }
  }
  for (int l = 0; l < kLanes<T>; ++l) found.low_ties -= low_equal[l], found.high_ties -= high_equal[l];
  if (found.low <= best.low) find_low(task, found);
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
