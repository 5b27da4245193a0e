// Forward pass: log-sum-exp of every row, positives, and the squared error from moments.
//
// With S^ = a (S - m), T = 1 - W, Y = S - reference and d = a (reference - m) - 1, the squared error is
//
//   sum (a Y + W + d)^2 = a^2 YY + WW + N^2 d^2 + 2 a YW + 2 a d Y + 2 d W      (sums over all N^2 pairs)
//
// so that min and max of S, known only at the end of the pass, do not ask for another one. Five additions per pair are
// far cheaper than the O(N D^2) closed form, and need no assumption about W.
#include <algorithm>
#include <limits>
#include <vector>

#include "common.h"
#include "instruction_set.h"
#include "panels.h"
#include "parallel.h"
#include "plan.h"
#include "schedule.h"

namespace ecgloss {

namespace {

// Sums of one side, in double precision.
template <class T>
struct Gathered {
  int64_t padded;
  std::vector<double> sums;  // [4][padded]
  std::vector<T> offsets;    // [2][padded]

  Gathered(int64_t n, bool own_offsets) : padded(panels_of(n) * kPanel), sums(static_cast<size_t>(4 * padded), 0.0) {
    if (own_offsets) offsets.assign(static_cast<size_t>(2 * padded), -std::numeric_limits<T>::infinity());
  }

  RowSums<T> view() {
    double* s = sums.data();
    T* o = offsets.empty() ? nullptr : offsets.data();
    return {s, s + padded, s + 2 * padded, s + 3 * padded, o, o == nullptr ? nullptr : o + padded};
  }

  void settle_offsets() {  // rows without negatives (positives) sum to 0 about any offset
    for (T& offset : offsets) {
      if (offset == -std::numeric_limits<T>::infinity()) offset = 0;
    }
  }
};

double log_sum(double sum, double offset, double tau) {
  return sum > 0 || std::isnan(sum) ? std::log(sum) + offset / tau : -INFINITY;
}

double squared_error(const Scalars& s, Similarity similarity, double pairs) {
  const Rescale scale(similarity, s.range_low, s.range_high);
  const double a = scale.a, d = a * (s.reference - scale.m) - 1;
  return (a * a * s.yy + s.ww + pairs * d * d + 2 * a * s.yw + 2 * a * d * s.y + 2 * d * s.w) / pairs;
}

// log(1 + e^x)
double softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }

// Similarity of a pair in double precision: the min-max scaling magnifies the rounding of a single one. NaN for none.
template <class T>
double product(const Problem<T>& problem, int64_t row, int64_t column) {
  if (row >= problem.n || column >= problem.m) return NAN;
  const T* a = problem.rows + row / kPanel * kPanel * problem.width + row % kPanel;
  const T* b = problem.columns + column / kPanel * kPanel * problem.width + column % kPanel;
  double total = 0;
  for (int64_t d = 0; d < problem.width; ++d) total += static_cast<double>(a[d * kPanel]) * b[d * kPanel];
  return total;
}

template <class T>
void write(const Problem<T>& problem, Gathered<T>& rows, const std::vector<double>& row_factor,
           const RowStatistics<T>& out, double& cross_entropy) {
  double total = 0;
  const RowSums<T> sums = rows.view();
  for (int64_t i = 0; i < problem.n; ++i) {
    const double negative_offset = problem.shared ? 1 : sums.negative_offset[i];
    const double positive_offset = problem.shared ? 1 : sums.positive_offset[i];
    const double negative = log_sum(sums.negative[i], negative_offset, problem.tau);
    const bool single = problem.layout.positive >= 0;
    const double similarity = sums.similarity[i] / problem.tau;
    const double positive = single ? similarity : log_sum(sums.positive[i], positive_offset, problem.tau);
    out.saved[i] = negative;
    out.saved[problem.n + i] = positive;
    const double factor = row_factor[static_cast<size_t>(i)];
    const double weighted = negative == -INFINITY ? negative : negative + factor;
    if (single) total += softplus(weighted - positive);
    out.saved[2 * problem.n + i] = factor;
    out.saved[3 * problem.n + i] = single ? 1 : sums.count[i];
    out.negative_lse[i] = static_cast<T>(weighted);
    out.positive_sum[i] = static_cast<T>(similarity);
    out.positive_lse[i] = static_cast<T>(positive);
    out.positive_count[i] = static_cast<T>(single ? 1 : sums.count[i]);
  }
  cross_entropy = total / static_cast<double>(problem.n);
}

}  // namespace

template <class T>
void forward(Problem<T> problem, const RuleSource& source, int threads, const RowStatistics<T>& statistics,
             Scalars& scalars) {
  const bool square = problem.layout.square, align = problem.similarity != Similarity::none;
  const Side<T> side(source, problem.layout, problem.n, problem.m, threads);
  problem.rule = side.rule();
  problem.shared = may_share_maximum(problem);
  if (align) scalars.reference = static_cast<T>(reference_similarity(problem));
  problem.reference = static_cast<T>(scalars.reference);
  const Kernels<T>& kernel = kernels<T>();
  const Plan plan(problem);
  const Schedule schedule = plan.schedule(square);
  threads = std::max(1, std::min(threads, static_cast<int>(schedule.width)));
  const Workspaces<T> work(plan, problem, kernel.lanes, false, threads);

  Gathered<T> rows(problem.n, !problem.shared), columns(square ? 0 : problem.m, !problem.shared);
  std::vector<Moments> moments(static_cast<size_t>(schedule.row_blocks));  // per block: added to in a fixed order
  const Extremes nothing{INFINITY, -INFINITY, 0, 0, problem.n, problem.m};
  std::vector<Extremes> extremes(static_cast<size_t>(threads), nothing);  // merging does not depend on the order
  const int64_t blocks = panels_of(problem.n);
  std::fill_n(statistics.block_extremes, blocks, INFINITY);
  std::fill_n(statistics.block_extremes + blocks, blocks, -INFINITY);
  const auto task = [&](const Turn& turn, int thread) -> ForwardTask<T> {
    return {&problem,
            plan.tile(problem, turn),
            work[thread],
            rows.view(),
            square ? rows.view() : columns.view(),
            &moments[static_cast<size_t>(turn.row)],
            &extremes[static_cast<size_t>(thread)],
            statistics.block_extremes,
            blocks,
            turn.row,
            turn.column};
  };
  if (!problem.shared) {
    run(schedule, threads, [&](const Turn& turn, int thread) { kernel.largest_tile(task(turn, thread)); });
    rows.settle_offsets();
    columns.settle_offsets();
  }
  run(schedule, threads, [&](const Turn& turn, int thread) { kernel.forward_tile(task(turn, thread)); });
  write(problem, rows, row_offsets(problem, source, kernel, threads), statistics, scalars.cross_entropy);

  if (!align) return;
  Extremes all = nothing;
  for (const Extremes& e : extremes) merge(all, e);
  scalars.low = all.low, scalars.high = all.high;
  scalars.low_ties = static_cast<double>(all.low_ties), scalars.high_ties = static_cast<double>(all.high_ties);
  scalars.range_low = product(problem, all.low_row, all.low_column);
  scalars.range_high = all.high;
  // A unit row's similarity to itself is 1, whatever rounding makes of it, and where a similarity is 1 its gradient
  // lies along the row, which normalisation takes away.
  if (scalars.high > 0.5) scalars.range_high = 1, scalars.high_ties = 0;
  for (const Moments& m : moments) {
    scalars.y += m.y, scalars.yy += m.yy, scalars.yw += m.yw, scalars.w += m.w, scalars.ww += m.ww;
  }
  scalars.squared_error =
      squared_error(scalars, problem.similarity, static_cast<double>(problem.n) * static_cast<double>(problem.m));
}

template void forward(Problem<float>, const RuleSource&, int, const RowStatistics<float>&, Scalars&);
template void forward(Problem<double>, const RuleSource&, int, const RowStatistics<double>&, Scalars&);

}  // namespace ecgloss
