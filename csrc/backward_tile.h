// Backward: with A = dL/dS and G = A + A^T (G = A in a rectangular problem), one tile gives
//
//   dq_I += G k_J        dk_J += G^T q_I
//
// and a mirrored tile does both from one recomputed S. Cost in units of 2 (tile size)^2 D flop: 1 + 2.
#pragma once

#include "forward_tile.h"

namespace ecgloss {
namespace {

// G of the tile, without single positives and extremes. Returns the sum of (dL/dS without L_d) (S - origin).
template <class T, class R, bool kGeneral, bool kAlign>
double gradient_strips(const BackwardTask<T>& task) {
  const Problem<T>& problem = *task.problem;
  const Tile<T>& tile = task.tile;
  const R rule(problem.rule);
  const RowGains<T>&rows = task.row_gains, &columns = task.column_gains;
  const AlignmentGradient<T>& alignment = task.alignment;
  const int64_t height = tile.rows.panels * kPanel;
  const Scale<T> scale(problem.tau);
  const bool fixed_maximum = problem.fixed_maximum, wants_sum = task.weighted_gradient != nullptr;
  double weighted_gradient = 0;
  for (int64_t jp = 0; jp < tile.columns.panels; ++jp) {
    const int64_t first = tile.columns.begin + jp * kPanel;
    Vector<T> weighted = {};
    for (int64_t i = 0; i < tile.rows.count; ++i) {
      const int64_t row = tile.rows.begin + i;
      const int64_t at = (jp * height + i) * kPanel;
      const T row_negative = rows.negative[row];
#pragma GCC unroll 3
      for (int v = 0; v < kPanelVectors<T>; ++v) {
        const int64_t j = first + v * kLanes<T>, here = at + v * kLanes<T>;
        const Vector<T> s = load(task.work.similarities + here);
        Vector<T> keep = broadcast(T(1)), cosine = {}, risk = {}, g;
        if (kGeneral) keep = load(task.work.keep + here);
        if (R::kFeatures) cosine = load(task.work.features + here);
        const Vector<T> both = load(columns.negative + j) + row_negative;
        if (!kGeneral || fixed_maximum) {
          const Vector<T> e =
              fixed_maximum_exponential<T, R, kGeneral>(rule, problem.rule, s, scale, row, j, keep, risk);
          if constexpr (R::kDense) {
            Vector<T> positive, negative;
            rule.relate(row, j, cosine, positive, negative);
            if (kGeneral) positive *= keep;
            g = e * (negative * both + positive * (load(columns.positive + j) + rows.positive[row])) +
                positive * (load(columns.similarity + j) + rows.similarity[row]);
          } else {
            g = e * both;
          }
        } else {
          const Weights<T> w = weigh<T, R>(rule, problem.rule, row, j, cosine, keep);
          risk = w.risk;
          // weight * e before the gain: an excluded pair has weight 0, and its large e times a gain could overflow.
          const auto exponential = [&](Vector<T> row_max, Vector<T> weight) {
            return weight * row_max_exponential<T>(s, row_max, scale);
          };
          g = exponential(broadcast(rows.negative_max[row]), w.negative) * row_negative +
              exponential(load(columns.negative_max + j), w.negative) * load(columns.negative + j);
          if (R::kDense) {
            g += exponential(broadcast(rows.positive_max[row]), w.positive) * rows.positive[row] +
                 exponential(load(columns.positive_max + j), w.positive) * load(columns.positive + j) +
                 w.positive * (rows.similarity[row] + load(columns.similarity + j));
          }
        }
        if (wants_sum) weighted += g * (s - problem.origin);
        if (kAlign) g += alignment.scale * (alignment.stretch * (s - problem.origin) + (risk + alignment.shift));
        store(task.work.gradient + here, g);
      }
      if (wants_sum && (i % 8 == 7 || i + 1 == tile.rows.count)) {  // short sums in T: most terms have one sign
        weighted_gradient += sum<T>(weighted);
        weighted = Vector<T>{};
      }
    }
  }
  return weighted_gradient;
}

// Adds the gradients of the single positives: of row i at column i + shift and, in a square problem, at its transpose.
template <class T>
double add_positives(const BackwardTask<T>& task) {
  const Problem<T>& problem = *task.problem;
  const Tile<T>& tile = task.tile;
  const int64_t shift = problem.layout.positive;
  double weighted_gradient = 0;
  if (shift < 0 || task.positive_gradient == nullptr) return weighted_gradient;
  const auto add = [&](int64_t i, int64_t j, T g) {
    const int64_t at = entry(tile, i, j);
    task.work.gradient[at] += g;
    weighted_gradient += static_cast<double>(g) * (task.work.similarities[at] - problem.origin);
  };
  for_shift(tile, shift, problem.m,
            [&](int64_t i, int64_t j) { add(i, j, task.positive_gradient[tile.rows.begin + i]); });
  if (!problem.layout.square) return weighted_gradient;
  for_shift(tile, problem.m - shift, problem.m,
            [&](int64_t i, int64_t j) { add(i, j, task.positive_gradient[tile.columns.begin + j]); });
  return weighted_gradient;
}

// Adds the gradients of min S and max S, shared evenly by ties. Padded columns may get them too: they reach
// padding only.
template <class T>
void add_extremes(const BackwardTask<T>& task) {
  const Tile<T>& tile = task.tile;
  const AlignmentGradient<T>& alignment = task.alignment;
  for (int64_t jp = 0; jp < tile.columns.panels; ++jp) {
    const int64_t strip = jp * tile.rows.panels * kPanel * kPanel;
    for (int64_t at = strip; at < strip + tile.rows.count * kPanel; at += kLanes<T>) {
      const Vector<T> s = load(task.work.similarities + at);
      Vector<T> g = load(task.work.gradient + at);
      g = s == broadcast(alignment.low) ? g + alignment.low_gradient : g;
      g = s == broadcast(alignment.high) ? g + alignment.high_gradient : g;
      store(task.work.gradient + at, g);
    }
  }
}

// Panels of out, [width][kPanel] each, (+)= (panels of `vectors`)^T times the strip of G [vectors][kPanel] for that
// panel. Rows of G beyond vectors.count are not read; columns beyond outputs.count reach padding of out only.
template <class T>
void multiply_gradient(const Problem<T>& problem, const Block& vectors, const T* panels, const T* gradient,
                       const Block& outputs, T* out, bool accumulate, Prefetch& prefetch) {
  const int64_t width = problem.width, last = vectors.count - (vectors.panels - 1) * kPanel;
  const Inner inner{vectors.panels, kPanel, last, kPanel * width, kPanel * kPanel};
  for (int64_t op = 0; op < outputs.panels; ++op) {
    multiply_rows<T, true>(width, inner, panels + vectors.panel * kPanel * width,
                           gradient + op * vectors.panels * kPanel * kPanel,
                           out + (outputs.panel + op) * kPanel * width, accumulate, prefetch);
  }
}

template <class T, class R>
void backward_tile(const BackwardTask<T>& task) {
  const Problem<T>& problem = *task.problem;
  const Tile<T>& tile = task.tile;
  Prefetch outputs(strips_of(tile, problem.width));
  add_block(outputs, task.row_gradient, tile.rows, problem.width);
  if (task.column_gradient != nullptr) add_block(outputs, task.column_gradient, tile.columns, problem.width);
  const bool general = prepare_tile<T, R>(problem, tile, task.work, outputs) || !problem.fixed_maximum;
  Prefetch prefetch = prefetch_upcoming(problem, task.upcoming, problem.width / ECGLOSS_STRIP_ROWS * tile.rows.panels);
  double weighted_gradient;
  if (R::kWeighted && problem.alignment != Alignment::none) {
    weighted_gradient =
        general ? gradient_strips<T, R, true, R::kWeighted>(task) : gradient_strips<T, R, false, R::kWeighted>(task);
  } else {
    weighted_gradient = general ? gradient_strips<T, R, true, false>(task) : gradient_strips<T, R, false, false>(task);
  }
  weighted_gradient += add_positives(task);
  if (task.has_extremes) add_extremes(task);
  const bool diagonal = problem.layout.square && !tile.mirrored;  // G = G^T counts A twice
  if (task.weighted_gradient != nullptr) {
    *task.weighted_gradient += diagonal ? weighted_gradient / 2 : weighted_gradient;
  }
  if (task.column_gradient != nullptr && !diagonal) {
    multiply_gradient(problem, tile.rows, problem.rows, task.work.gradient, tile.columns, task.column_gradient,
                      !task.first_of_columns, prefetch);
  }
  if (diagonal) {
    // G_ii z^_i points along z^_i, which the gradient of the normalisation removes. It is left out of the sums, so that
    // it is removed exactly; but for rows below the least norm, which are not on the sphere.
    for (int64_t i = 0; i < tile.rows.count; ++i) {
      const int64_t at = entry(tile, i, i);
      if (task.work.similarities[at] > T(0.999)) task.work.gradient[at] = 0;
    }
    return multiply_gradient(problem, tile.rows, problem.rows, task.work.gradient, tile.columns, task.row_gradient,
                             !task.first_of_rows, prefetch);
  }
  for (int64_t jp = 0; jp < tile.columns.panels; ++jp) {
    for (int64_t ip = 0; ip < tile.rows.panels; ++ip) {
      transpose_panel(task.work.gradient + (jp * tile.rows.panels + ip) * kPanel * kPanel,
                      task.work.transposed + (ip * tile.columns.panels + jp) * kPanel * kPanel);
    }
  }
  multiply_gradient(problem, tile.columns, problem.columns, task.work.transposed, tile.rows, task.row_gradient,
                    !task.first_of_rows, prefetch);
}

}  // namespace
}  // namespace ecgloss
