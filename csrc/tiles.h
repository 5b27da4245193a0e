// One tile of S: its products, and the mask of excluded and padded pairs. Both passes begin with it.
//
// A tile is stored as [column panel][row of the tile][kPanel].
#pragma once

#include "microkernel.h"
#include "problem.h"

namespace ecgloss {
namespace {

// Steps of the inner dimension per sum: short sums round less, and kSteps rows of a panel of B stay in the L1 cache.
constexpr int64_t kSteps = 64;

// Rows of a block's panel that are not padding, rounded up to the height of the micro-kernel.
ECGLOSS_INLINE int64_t used_rows(const Block& block, int64_t panel) {
  const int64_t valid = block.count - panel * kPanel;
  constexpr int64_t kRows = ECGLOSS_STRIP_ROWS;
  return valid < kPanel ? (valid + kRows - 1) / kRows * kRows : kPanel;
}

// out = rows columns^T for two sets of panels of the given width. `symmetric`: both sets are the same, and panels above
// the diagonal are copied from below it.
template <class T>
void multiply_panels(const T* rows, const T* columns, int64_t width, const Tile<T>& tile, bool symmetric, T* out,
                     Prefetch& prefetch) {
  const int64_t height = tile.rows.panels * kPanel;
  for (int64_t jp = 0; jp < tile.columns.panels; ++jp) {
    const T* b = columns + (tile.columns.panel + jp) * kPanel * width;
    for (int64_t d = 0; d < width; d += kSteps) {
      const int64_t steps = width - d < kSteps ? width - d : kSteps;
      for (int64_t ip = symmetric ? jp : 0; ip < tile.rows.panels; ++ip) {
        const T* a = rows + (tile.rows.panel + ip) * kPanel * width;
        const int64_t count = ip > jp && symmetric ? kPanel : used_rows(tile.rows, ip);  // copies have all columns
        multiply_rows<T, false>(count, {1, steps, steps, 0, 0}, a + d * kPanel, b + d * kPanel,
                                out + (jp * height + ip * kPanel) * kPanel, d > 0, prefetch);
      }
    }
  }
  if (!symmetric) return;
  for (int64_t jp = 1; jp < tile.columns.panels; ++jp) {
    for (int64_t ip = 0; ip < jp; ++ip) {
      transpose_panel(out + (ip * height + jp * kPanel) * kPanel, out + (jp * height + ip * kPanel) * kPanel);
    }
  }
}

// Calls f(row in tile, column in tile) where column = (row + shift) mod m lies in the tile; 0 <= shift <= m.
template <class T, class F>
ECGLOSS_INLINE void for_shift(const Tile<T>& tile, int64_t shift, int64_t m, F f) {
  for (int64_t i = 0; i < tile.rows.count; ++i) {
    int64_t column = tile.rows.begin + i + shift;
    if (column >= m) column -= m;
    column -= tile.columns.begin;
    if (column >= 0 && column < tile.columns.count) f(i, column);
  }
}

// Index of pair (i, j) in a tile's buffer.
template <class T>
ECGLOSS_INLINE int64_t entry(const Tile<T>& tile, int64_t i, int64_t j) {
  return (j / kPanel * tile.rows.panels * kPanel + i) * kPanel + j % kPanel;
}

// Whether some pairs of the tile are excluded or padded.
template <class T>
bool is_irregular(const Problem<T>& problem, const Tile<T>& tile) {
  bool found = tile.columns.count < tile.columns.panels * kPanel;
  for (int t = 0; t < problem.layout.n_excluded && !found; ++t) {
    for_shift(tile, problem.layout.excluded[t], problem.m, [&](int64_t, int64_t) { found = true; });
  }
  return found;
}

// keep = 0 for excluded and padded pairs, else 1.
template <class T>
void mark_kept(const Problem<T>& problem, const Tile<T>& tile, T* keep) {
  const int64_t height = tile.rows.panels * kPanel;
  for (int64_t jp = 0; jp < tile.columns.panels; ++jp) {
    const int64_t valid = tile.columns.count - jp * kPanel;
    for (int64_t i = 0; i < tile.rows.count; ++i) {
      T* row = keep + (jp * height + i) * kPanel;
      for (int64_t j = 0; j < kPanel; ++j) row[j] = j < valid ? T(1) : T(0);
    }
  }
  for (int t = 0; t < problem.layout.n_excluded; ++t) {
    for_shift(tile, problem.layout.excluded[t], problem.m,
              [&](int64_t i, int64_t j) { keep[entry(tile, i, j)] = T(0); });
  }
}

// The micro-kernel runs this often while S of a tile is computed.
template <class T>
int64_t strips_of(const Tile<T>& tile, int64_t width) {
  const int64_t chunks = (width + kSteps - 1) / kSteps, strips = kPanel / ECGLOSS_STRIP_ROWS;
  return tile.rows.panels * tile.columns.panels * chunks * strips;
}

// Panels of a block, [panels][width][kPanel].
template <class T>
ECGLOSS_INLINE void add_block(Prefetch& prefetch, const T* panels, const Block& block, int64_t width) {
  prefetch.add(panels + block.panel * kPanel * width, block.panels * kPanel * width);
}

// Rows and columns of the tile that follows.
template <class T>
Prefetch prefetch_upcoming(const Problem<T>& problem, const Tile<T>& upcoming, int64_t calls) {
  Prefetch prefetch(calls);
  add_block(prefetch, problem.rows, upcoming.rows, problem.width);
  add_block(prefetch, problem.columns, upcoming.columns, problem.width);
  return prefetch;
}

// Computes S, C of the feature rule and, where it is needed, the mask. Returns whether some pairs are masked.
template <class T, class R>
bool prepare_tile(const Problem<T>& problem, const Tile<T>& tile, const Workspace<T>& work, Prefetch& prefetch) {
  const bool symmetric = problem.layout.square && !tile.mirrored;
  multiply_panels(problem.rows, problem.columns, problem.width, tile, symmetric, work.similarities, prefetch);
  if (R::kFeatures) {
    multiply_panels(problem.rule.row_values, problem.rule.column_values, problem.rule.n_values, tile, symmetric,
                    work.features, prefetch);
  }
  const bool irregular = is_irregular(problem, tile);
  if (irregular || !problem.fixed_maximum) mark_kept(problem, tile, work.keep);
  return irregular;
}

}  // namespace
}  // namespace ecgloss
