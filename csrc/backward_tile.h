// Backward: with A = dL/dS and G = A + A^T (G = A in a rectangular problem), one tile gives
//
//   dq_I += G k_J        dk_J += G^T q_I
//
// and a mirrored tile is both for the price of one recomputed S. In units of 2 T^2 D flop: 1 + 2.
#pragma once

#include "forward_tile.h"

namespace ecgloss {
namespace {

// G of the tile without single positives and extremes; returns the sum of (dL/dS without alignment) (S - reference).
template <class T, class R, bool kGeneral, bool kAlign>
double gradient_strips(const BackwardTask<T>& task) {
  const Problem<T>& problem = *task.problem;
  const Tile<T>& tile = task.tile;
  const R rule(problem.rule);
  const RowFactors<T>&rows = task.row_factors, &columns = task.column_factors;
  const AlignmentGradient<T>& alignment = task.alignment;
  const int64_t height = tile.rows.panels * kPanel;
  const Scale<T> scale(problem.tau);
  const bool shared = problem.shared, temperature = task.temperature != nullptr;
  double moment = 0;
  for (int64_t jp = 0; jp < tile.columns.panels; ++jp) {
    const int64_t first = tile.columns.begin + jp * kPanel;
    Vector<T> moments = {};
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
        if (!kGeneral || shared) {
          const Vector<T> e = shared_exponential<T, R, kGeneral>(rule, problem.rule, s, scale, row, j, keep, risk);
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
          // The weight first: 0 for excluded pairs, whose exponential may be as large as a number can be.
          const auto exponential = [&](Vector<T> offset, Vector<T> weight) {
            return weight * offset_exponential<T>(s, offset, scale);
          };
          g = exponential(broadcast(rows.negative_offset[row]), w.negative) * row_negative +
              exponential(load(columns.negative_offset + j), w.negative) * load(columns.negative + j);
          if (R::kDense) {
            g += exponential(broadcast(rows.positive_offset[row]), w.positive) * rows.positive[row] +
                 exponential(load(columns.positive_offset + j), w.positive) * load(columns.positive + j) +
                 w.positive * (rows.similarity[row] + load(columns.similarity + j));
          }
        }
        if (temperature) moments += g * (s - problem.reference);
        if (kAlign) g += alignment.scale * (alignment.slope * (s - problem.reference) + (risk + alignment.shift));
        store(task.work.gradient + here, g);
      }
      if (temperature && (i % 8 == 7 || i + 1 == tile.rows.count)) {  // short runs in T: most terms have one sign
        moment += sum<T>(moments);
        moments = Vector<T>{};
      }
    }
  }
  return moment;
}

// Single positives: row i meets column i + shift; in a square problem also the other way round.
template <class T>
double add_positives(const BackwardTask<T>& task) {
  const Problem<T>& problem = *task.problem;
  const Tile<T>& tile = task.tile;
  const int64_t shift = problem.layout.positive;
  double moment = 0;
  if (shift < 0 || task.positive_gradient == nullptr) return moment;
  const auto add = [&](int64_t i, int64_t j, T g) {
    const int64_t at = entry(tile, i, j);
    task.work.gradient[at] += g;
    moment += static_cast<double>(g) * (task.work.similarities[at] - problem.reference);
  };
  for_shift(tile, shift, problem.m,
            [&](int64_t i, int64_t j) { add(i, j, task.positive_gradient[tile.rows.begin + i]); });
  if (!problem.layout.square) return moment;
  for_shift(tile, problem.m - shift, problem.m,
            [&](int64_t i, int64_t j) { add(i, j, task.positive_gradient[tile.columns.begin + j]); });
  return moment;
}

// The lowest and the highest similarity get the gradient of the min-max scaling, ties evenly.
template <class T>
void add_extremes(const BackwardTask<T>& task) {
  const Tile<T>& tile = task.tile;
  const AlignmentGradient<T>& alignment = task.alignment;
  for (int64_t i = 0; i < tile.rows.count; ++i) {
    for (int64_t j = 0; j < tile.columns.count; ++j) {
      const int64_t at = entry(tile, i, j);
      const T s = task.work.similarities[at];
      if (s == alignment.low) task.work.gradient[at] += alignment.low_gradient;
      if (s == alignment.high) task.work.gradient[at] += alignment.high_gradient;
    }
  }
}

// out panels (width x 48 each) += (panels of `vectors`) (G by rows of vectors). Rows of G beyond the valid ones are
// never written; they reach padding only.
template <class T>
void multiply_gradient(const Problem<T>& problem, const Block& vectors, const T* panels, const T* gradient,
                       const Block& outputs, T* out) {
  const int64_t width = problem.width, last = vectors.count - (vectors.panels - 1) * kPanel;
  const Inner inner{kPanel, 1, vectors.panels, kPanel, last, kPanel * width, kPanel * kPanel};
  for (int64_t op = 0; op < outputs.panels; ++op) {
    multiply_rows<T>(width, inner, panels + vectors.panel * kPanel * width,
                     gradient + op * vectors.panels * kPanel * kPanel, out + (outputs.panel + op) * kPanel * width,
                     true);
  }
}

template <class T, class R>
void backward_tile(const BackwardTask<T>& task) {
  const Problem<T>& problem = *task.problem;
  const Tile<T>& tile = task.tile;
  const bool general = prepare_tile<T, R>(problem, tile, task.work) || !problem.shared;
  double moment;
  if (R::kWeighted && problem.similarity != Similarity::none) {
    moment =
        general ? gradient_strips<T, R, true, R::kWeighted>(task) : gradient_strips<T, R, false, R::kWeighted>(task);
  } else {
    moment = general ? gradient_strips<T, R, true, false>(task) : gradient_strips<T, R, false, false>(task);
  }
  moment += add_positives(task);
  if (task.has_extremes) add_extremes(task);
  const bool diagonal = problem.layout.square && !tile.mirrored;  // G is its own transpose, and stands for A twice
  if (task.temperature != nullptr) *task.temperature += diagonal ? moment / 2 : moment;
  if (task.column_gradient != nullptr && !diagonal) {
    multiply_gradient(problem, tile.rows, problem.rows, task.work.gradient, tile.columns, task.column_gradient);
  }
  if (diagonal) {
    // What a row gets from itself points along it, and the normalisation's gradient removes that: exactly, if it never
    // enters the sums.
    for (int64_t i = 0; i < tile.rows.count; ++i) task.work.gradient[entry(tile, i, i)] = 0;
    return multiply_gradient(problem, tile.rows, problem.rows, task.work.gradient, tile.columns, task.row_gradient);
  }
  for (int64_t jp = 0; jp < tile.columns.panels; ++jp) {
    for (int64_t ip = 0; ip < tile.rows.panels; ++ip) {
      transpose_panel(task.work.gradient + (jp * tile.rows.panels + ip) * kPanel * kPanel,
                      task.work.transposed + (ip * tile.columns.panels + jp) * kPanel * kPanel);
    }
  }
  multiply_gradient(problem, tile.columns, problem.columns, task.work.transposed, tile.rows, task.row_gradient);
}

}  // namespace
}  // namespace ecgloss
