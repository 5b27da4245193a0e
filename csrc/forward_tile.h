// Forward: sums of exponentials, positives, moments and extremes of one tile.
//
//   e_ik = omega_ik e^((S_ik - row_max)/tau)      row_max: 1 in every row (fixed maximum), or the largest S of the row
//
// Row sums are vectors until the tile is done. A mirrored tile adds to the sums of its columns too: the same e_ik where
// the maximum is fixed.
#pragma once

#include "exponentials.h"
#include "moments.h"
#include "tiles.h"

namespace ecgloss {
namespace {

template <class T>
struct Sums {
  Vector<T> negative, positive, similarity, count;
};

// Address of a row's sum of one statistic in the workspace, [statistic][row][lanes].
template <class T>
ECGLOSS_INLINE T* row_sum(const ForwardTask<T>& task, int statistic, int64_t i) {
  return task.work.row_sums + (statistic * task.tile.rows.panels * kPanel + i) * kLanes<T>;
}

template <class T, bool kDense>
void add_rows(const ForwardTask<T>& task) {
  const Tile<T>& tile = task.tile;
  for (int64_t i = 0; i < tile.rows.count; ++i) {
    const int64_t row = tile.rows.begin + i;
    task.rows.negative.row_sum[row] += sum<T>(load(row_sum(task, 0, i)));
    if (!kDense) continue;
    task.rows.positive.row_sum[row] += sum<T>(load(row_sum(task, 1, i)));
    task.rows.similarity[row] += sum<T>(load(row_sum(task, 2, i)));
    task.rows.count[row] += sum<T>(load(row_sum(task, 3, i)));
  }
}

template <class T, bool kDense>
void add_columns(const ForwardTask<T>& task, int64_t first, const Sums<T>* columns) {
  for (int v = 0; v < kPanelVectors<T>; ++v) {
    for (int l = 0; l < kLanes<T>; ++l) {
      const int64_t column = first + v * kLanes<T> + l;
      task.columns.negative.row_sum[column] += columns[v].negative[l];
      if (!kDense) continue;
      task.columns.positive.row_sum[column] += columns[v].positive[l];
      task.columns.similarity[column] += columns[v].similarity[l];
      task.columns.count[column] += columns[v].count[l];
    }
  }
}

template <class T, class R, bool kGeneral, bool kAlign>
void forward_strips(const ForwardTask<T>& task) {
  const Problem<T>& problem = *task.problem;
  const Tile<T>& tile = task.tile;
  const R rule(problem.rule);
  const int64_t height = tile.rows.panels * kPanel;
  const Scale<T> scale(problem.tau);
  const bool fixed_maximum = problem.fixed_maximum;
  TileMoments<T> moments;
  const int kStatistics = R::kDense ? 4 : 1;
  for (int64_t x = 0; x < kStatistics * height * kLanes<T>; ++x) task.work.row_sums[x] = 0;
  for (int64_t jp = 0; jp < tile.columns.panels; ++jp) {
    const int64_t first = tile.columns.begin + jp * kPanel;
    const T* similarities = task.work.similarities + jp * height * kPanel;
    Sums<T> columns[kPanelVectors<T>] = {};
    Vector<T> inside[kPanelVectors<T>];
    for (int v = 0; v < kPanelVectors<T>; ++v) {
      for (int l = 0; l < kLanes<T>; ++l) {
        inside[v][l] = jp * kPanel + v * kLanes<T> + l < tile.columns.count ? T(1) : T(0);
      }
    }
    for (int64_t i = 0; i < tile.rows.count; ++i) {
      const int64_t row = tile.rows.begin + i;
      const int64_t at = i * kPanel;
      Sums<T> rows = {};
#pragma GCC unroll 3
      for (int v = 0; v < kPanelVectors<T>; ++v) {
        const int64_t j = first + v * kLanes<T>;
        const Vector<T> s = load(similarities + at + v * kLanes<T>);
        Vector<T> keep = broadcast(T(1)), cosine = {}, risk = {};
        if (kGeneral) keep = load(task.work.keep + jp * height * kPanel + at + v * kLanes<T>);
        if (R::kFeatures) cosine = load(task.work.features + jp * height * kPanel + at + v * kLanes<T>);
        if (!kGeneral || fixed_maximum) {
          Vector<T> e = fixed_maximum_exponential<T, R, kGeneral>(rule, problem.rule, s, scale, row, j, keep, risk);
          if constexpr (R::kDense) {
            Vector<T> positive, negative;
            rule.relate(row, j, cosine, positive, negative);
            if (kGeneral) positive *= keep;
            const Vector<T> p = e * positive, ps = s * positive;
            e *= negative;
            rows.positive += p, rows.similarity += ps, rows.count += positive;
            columns[v].positive += p, columns[v].similarity += ps, columns[v].count += positive;
          }
          rows.negative += e;
          columns[v].negative += e;
        } else {
          const Weights<T> w = weigh<T, R>(rule, problem.rule, row, j, cosine, keep);
          risk = w.risk;
          rows.negative += w.negative * row_max_exponential<T>(s, broadcast(task.rows.negative.row_max[row]), scale);
          columns[v].negative += w.negative * row_max_exponential<T>(s, load(task.columns.negative.row_max + j), scale);
          if (R::kDense) {
            rows.positive += w.positive * row_max_exponential<T>(s, broadcast(task.rows.positive.row_max[row]), scale);
            columns[v].positive +=
                w.positive * row_max_exponential<T>(s, load(task.columns.positive.row_max + j), scale);
            rows.similarity += w.positive * s, rows.count += w.positive;
            columns[v].similarity += w.positive * s, columns[v].count += w.positive;
          }
        }
        if (kAlign) moments.template add<kGeneral>(s, risk, problem.origin, inside[v]);
      }
      if (kAlign && i % 8 == 7) moments.fold();
      store(row_sum(task, 0, i), load(row_sum(task, 0, i)) + rows.negative);
      if (R::kDense) {
        store(row_sum(task, 1, i), load(row_sum(task, 1, i)) + rows.positive);
        store(row_sum(task, 2, i), load(row_sum(task, 2, i)) + rows.similarity);
        store(row_sum(task, 3, i), load(row_sum(task, 3, i)) + rows.count);
      }
    }
    if (kAlign) moments.flush(*task.moments, tile.mirrored ? 2 : 1);
    if (tile.mirrored) add_columns<T, R::kDense>(task, first, columns);
  }
  add_rows<T, R::kDense>(task);
  if (kAlign && problem.alignment == Alignment::minmax) merge_extremes(task, moments.lowest(), moments.highest());
}

// Copies S of the single positives of the tile's rows and, in a mirrored tile, of its columns.
template <class T>
void read_positives(const ForwardTask<T>& task) {
  const Problem<T>& problem = *task.problem;
  const Tile<T>& tile = task.tile;
  const int64_t shift = problem.layout.positive;
  if (shift < 0) return;
  for_shift(tile, shift, problem.m, [&](int64_t i, int64_t j) {
    task.rows.similarity[tile.rows.begin + i] = task.work.similarities[entry(tile, i, j)];
  });
  if (!tile.mirrored) return;
  for_shift(tile, problem.m - shift, problem.m, [&](int64_t i, int64_t j) {
    task.columns.similarity[tile.columns.begin + j] = task.work.similarities[entry(tile, i, j)];
  });
}

template <class T, class R>
void forward_tile(const ForwardTask<T>& task) {
  const Problem<T>& problem = *task.problem;
  Prefetch prefetch = prefetch_upcoming(problem, task.upcoming, strips_of(task.tile, problem.width));
  const bool general = prepare_tile<T, R>(problem, task.tile, task.work, prefetch) || !problem.fixed_maximum;
  const bool align = problem.alignment != Alignment::none;
  if constexpr (R::kWeighted) {
    if (align) {
      general ? forward_strips<T, R, true, true>(task) : forward_strips<T, R, false, true>(task);
      return read_positives(task);
    }
  }
  general ? forward_strips<T, R, true, false>(task) : forward_strips<T, R, false, false>(task);
  read_positives(task);
}

// row_max: the largest S of the negatives, and of the positives, of positive weight.
template <class T, class R>
void row_max_tile(const ForwardTask<T>& task) {
  const Problem<T>& problem = *task.problem;
  const Tile<T>& tile = task.tile;
  const R rule(problem.rule);
  const int64_t height = tile.rows.panels * kPanel;
  const Vector<T> none = broadcast(T(-__builtin_inff()));
  Prefetch prefetch = prefetch_upcoming(problem, task.upcoming, strips_of(tile, problem.width));
  prepare_tile<T, R>(problem, tile, task.work, prefetch);
  for (int64_t jp = 0; jp < tile.columns.panels; ++jp) {
    for (int64_t i = 0; i < tile.rows.count; ++i) {
      const int64_t row = tile.rows.begin + i;
      for (int v = 0; v < kPanelVectors<T>; ++v) {
        const int64_t at = (jp * height + i) * kPanel + v * kLanes<T>;
        const int64_t j = tile.columns.begin + jp * kPanel + v * kLanes<T>;
        const Vector<T> s = load(task.work.similarities + at);
        const Vector<T> cosine = R::kFeatures ? load(task.work.features + at) : Vector<T>{};
        const Weights<T> w = weigh<T, R>(rule, problem.rule, row, j, cosine, load(task.work.keep + at));
        const Vector<T> negative = w.negative > T(0) ? s : none, positive = w.positive > T(0) ? s : none;
        for (int l = 0; l < kLanes<T>; ++l) {
          T& a = task.rows.negative.row_max[row];
          a = negative[l] > a ? negative[l] : a;
          T& b = task.rows.positive.row_max[row];
          b = positive[l] > b ? positive[l] : b;
        }
        if (!tile.mirrored) continue;
        T* columns = task.columns.negative.row_max + j;
        store(columns, maximum<T>(negative, load(columns)));
        columns = task.columns.positive.row_max + j;
        store(columns, maximum<T>(positive, load(columns)));
      }
    }
  }
}

}  // namespace
}  // namespace ecgloss
