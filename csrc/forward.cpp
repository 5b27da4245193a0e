// Forward pass: log-sum-exp of every row, positives, L_w, and L_d from moments.
//
// With S^ = stretch (S - start), T = 1 - W, Y = S - origin and d = stretch (origin - start) - 1,
//
//   sum (S^ - T)^2 = sum (stretch Y + W + d)^2
//                  = stretch^2 YY + WW + n m d^2 + 2 stretch YW + 2 stretch d Y + 2 d W      (sums over all n m pairs)
//
// so that min S and max S, known only at the end of the pass, need no second one. The five sums cost a few additions
// per pair, far less than the O(n D^2) closed form, and assume nothing about W.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine.h"
#include "instruction_set.h"
#include "numerics.h"
#include "packing.h"
#include "parallel.h"
#include "plan.h"
#include "prepared_rule.h"
#include "schedule.h"

namespace ecgloss {

namespace {

// Owns the sums of the rows or of the columns.
template <class T>
class RowSums {
 public:
  RowSums(int64_t n, bool fixed_maximum)
      : padded_(panels_of(n) * kPanel), sums_(static_cast<size_t>(4 * padded_), 0.0) {
    if (!fixed_maximum) maxima_.assign(static_cast<size_t>(2 * padded_), -std::numeric_limits<T>::infinity());
  }

  RowState<T> state() {
    double* sums = sums_.data();
    T* maxima = maxima_.empty() ? nullptr : maxima_.data();
    return {{sums, maxima},
            {sums + padded_, maxima == nullptr ? nullptr : maxima + padded_},
            sums + 2 * padded_,
            sums + 3 * padded_};
  }

  // A row without negatives (positives) has the sum 0 whatever its row_max, which must be finite.
  void make_maxima_finite() {
    for (T& maximum : maxima_) {
      if (maximum == -std::numeric_limits<T>::infinity()) maximum = 0;
    }
  }

 private:
  int64_t padded_;
  std::vector<double> sums_;  // [4][padded]
  std::vector<T> maxima_;     // [2][padded]; empty where 1 is the fixed maximum
};

// log-sum-exp of row i of an online softmax; -inf for an empty sum.
template <class T>
double log_sum_exp(const Softmax<T>& softmax, int64_t i, double tau) {
  const double sum = softmax.row_sum[i], row_max = softmax.row_max == nullptr ? 1 : softmax.row_max[i];
  return sum > 0 || std::isnan(sum) ? std::log(sum) + row_max / tau : -INFINITY;
}

// L_d = mean (S^ - T)^2
double mean_squared_residual(const Scalars& s, Alignment alignment, double pairs) {
  const Rescaling scaled(alignment, s.range_low, s.range_high);
  const double a = scaled.stretch, d = a * (s.origin - scaled.start) - 1;
  return (a * a * s.yy + s.ww + pairs * d * d + 2 * a * s.yw + 2 * a * d * s.y + 2 * d * s.w) / pairs;
}

// log(1 + e^x)
double softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }

// S of one pair in double precision: the min-max scaling magnifies the rounding of single precision. NaN for no pair.
template <class T>
double similarity(const Problem<T>& problem, int64_t row, int64_t column) {
  if (row >= problem.n || column >= problem.m) return NAN;
  const T* a = problem.rows + row / kPanel * kPanel * problem.width + row % kPanel;
  const T* b = problem.columns + column / kPanel * kPanel * problem.width + column % kPanel;
  double total = 0;
  for (int64_t d = 0; d < problem.width; ++d) total += static_cast<double>(a[d * kPanel]) * b[d * kPanel];
  return total;
}

// Row statistics from the sums, for the caller and for the backward; returns L_w, 0 without single positives.
template <class T>
double write_rows(const Problem<T>& problem, const RowState<T>& rows, const std::vector<double>& log_normalisers,
                  const RowStatistics<T>& out, const SavedBuffer& saved) {
  const bool single = problem.layout.positive >= 0;
  double total = 0;
  for (int64_t i = 0; i < problem.n; ++i) {
    const double negative = log_sum_exp(rows.negative, i, problem.tau);
    const double positive_sum = rows.similarity[i] / problem.tau;
    const double positive = single ? positive_sum : log_sum_exp(rows.positive, i, problem.tau);
    const double count = single ? 1 : rows.count[i];
    const double log_normaliser = log_normalisers[static_cast<size_t>(i)];
    const double normalised = negative == -INFINITY ? negative : negative - log_normaliser;
    if (single) total += softplus(normalised - positive);
    saved.negative_lse[i] = negative;
    saved.positive_lse[i] = positive;
    saved.log_normaliser[i] = log_normaliser;
    saved.positive_count[i] = count;
    out.negative_lse[i] = static_cast<T>(normalised);
    out.positive_sum[i] = static_cast<T>(positive_sum);
    out.positive_lse[i] = static_cast<T>(positive);
    out.positive_count[i] = static_cast<T>(count);
  }
  return total / static_cast<double>(problem.n);
}

// Extremes of S: as tiles computed them, which the backward compares with, and those that scale S.
template <class T>
void write_extremes(const Problem<T>& problem, const Extremes& extremes, Scalars& scalars) {
  scalars.low = extremes.low;
  scalars.high = extremes.high;
  scalars.low_ties = static_cast<double>(extremes.low_ties);
  scalars.high_ties = static_cast<double>(extremes.high_ties);
  scalars.range_low = similarity(problem, extremes.low_row, extremes.low_column);
  scalars.range_high = extremes.high;
  // S_ii of a unit row is 1, whatever its rounded value, and the gradient of an entry that is 1 lies along the row: the
  // gradient of the normalisation removes it.
  if (scalars.high > 0.5) scalars.range_high = 1, scalars.high_ties = 0;
}

}  // namespace

template <class T>
void forward(Problem<T> problem, const Encoding& encoding, int threads, const RowStatistics<T>& statistics,
             const SavedBuffer& saved) {
  const bool square = problem.layout.square, aligned = problem.alignment != Alignment::none;
  Scalars& scalars = *saved.scalars;
  scalars = Scalars();
  const RiskVectors risks = centred_risks(encoding);
  scalars.risk = resolve(encoding, risks, threads);
  const PreparedRule<T> prepared(encoding, risks, scalars.risk, problem.layout, problem.n, problem.m, threads);
  problem.rule = prepared.rule();
  problem.fixed_maximum = has_fixed_maximum(problem);
  if (aligned) problem.origin = static_cast<T>(typical_similarity(problem));
  scalars.origin = problem.origin;
  const Kernels<T>& kernel = kernels<T>();
  const Plan plan(problem);
  const Schedule schedule = plan.schedule(square);
  threads = std::max(1, std::min(threads, static_cast<int>(schedule.width)));
  const Workspaces<T> work(plan, problem, kernel.lanes, false, threads);

  RowSums<T> rows(problem.n, problem.fixed_maximum), columns(square ? 0 : problem.m, problem.fixed_maximum);
  std::vector<Moments> moments(static_cast<size_t>(schedule.row_blocks));  // per block: added to in a fixed order
  const Extremes none{INFINITY, -INFINITY, 0, 0, problem.n, problem.m};
  std::vector<Extremes> extremes(static_cast<size_t>(threads), none);
  const int64_t blocks = panels_of(problem.n);
  std::fill_n(saved.block_low, blocks, INFINITY);
  std::fill_n(saved.block_high, blocks, -INFINITY);
  const auto task = [&](const Turn& turn, const Turn& upcoming, int thread) -> ForwardTask<T> {
    return {&problem,
            plan.tile(problem, turn),
            plan.tile(problem, upcoming),
            work[thread],
            rows.state(),
            square ? rows.state() : columns.state(),
            &moments[static_cast<size_t>(turn.row)],
            &extremes[static_cast<size_t>(thread)],
            saved.block_low,
            saved.block_high,
            turn.row,
            turn.column};
  };
  if (!problem.fixed_maximum) {
    run(schedule, threads, [&](const Turn& turn, const Turn& upcoming, int thread) {
      kernel.row_max_tile(task(turn, upcoming, thread));
    });
    rows.make_maxima_finite();
    columns.make_maxima_finite();
  }
  run(schedule, threads, [&](const Turn& turn, const Turn& upcoming, int thread) {
    kernel.forward_tile(task(turn, upcoming, thread));
  });
  scalars.contrastive =
      write_rows(problem, rows.state(), log_normalisers(problem, encoding, kernel, threads), statistics, saved);

  if (!aligned) return;
  if (problem.alignment == Alignment::minmax) {
    Extremes all = none;
    for (const Extremes& e : extremes) merge(all, e);
    write_extremes(problem, all, scalars);
  }
  for (const Moments& m : moments) {
    scalars.y += m.y, scalars.yy += m.yy, scalars.yw += m.yw, scalars.w += m.w, scalars.ww += m.ww;
  }
  scalars.alignment = mean_squared_residual(scalars, problem.alignment,
                                            static_cast<double>(problem.n) * static_cast<double>(problem.m));
}

template void forward(Problem<float>, const Encoding&, int, const RowStatistics<float>&, const SavedBuffer&);
template void forward(Problem<double>, const Encoding&, int, const RowStatistics<double>&, const SavedBuffer&);

}  // namespace ecgloss
