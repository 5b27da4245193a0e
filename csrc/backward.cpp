// Backward pass: dL/dq^ = G k^ and dL/dk^ = G^T q^ from recomputed tiles of S.
//
// Rows hand in c_i = g_i e^(offset/tau - lse_i) / tau, after which a pair's gradient is e_ik (c_i + c_k).
#include <algorithm>
#include <vector>

#include "common.h"
#include "instruction_set.h"
#include "plan.h"
#include "schedule.h"

namespace ecgloss {
namespace {

// Gradient of the mean cross entropy with respect to the negatives' log-sum-exp of row i; minus it for the positive.
template <class T>
double entropy_gradient(const Problem<T>& problem, const double* lse, int64_t i) {
  if (problem.layout.positive < 0) return 0;
  const double difference = lse[problem.n + i] - (lse[i] + lse[2 * problem.n + i]);
  return 1 / (1 + std::exp(difference)) / static_cast<double>(problem.n);
}

// c_i of one side; all zero for the columns of a rectangular problem, which have no statistics of their own.
template <class T>
struct Factors {
  int64_t padded;
  std::vector<T> values;  // [5][padded]: negative, positive, similarity, offsets of both

  Factors(const Problem<T>& problem, int64_t n) : padded(panels_of(n) * kPanel) {
    values.assign(static_cast<size_t>((problem.shared ? 3 : 5) * padded), T(0));
  }

  void fill(const Problem<T>& problem, const double* lse, const RowGradients<T>& gradients) {
    const bool dense = problem.layout.positive < 0;
    for (int64_t i = 0; i < problem.n; ++i) {
      const double outer = gradients.negative_lse == nullptr ? 0 : gradients.negative_lse[i];
      set(problem, 0, i, lse[i], outer + gradients.cross_entropy * entropy_gradient(problem, lse, i));
      if (!dense) continue;
      if (gradients.positive_lse != nullptr) set(problem, 1, i, lse[problem.n + i], gradients.positive_lse[i]);
      if (gradients.positive_sum != nullptr) {
        values[static_cast<size_t>(2 * padded + i)] = static_cast<T>(gradients.positive_sum[i] / problem.tau);
      }
    }
  }

  RowFactors<T> view(const Problem<T>& problem) const {
    const T* v = values.data();
    const T* offsets = problem.shared ? nullptr : v + 3 * padded;
    return {v, v + padded, v + 2 * padded, offsets, offsets == nullptr ? nullptr : offsets + padded};
  }

 private:
  void set(const Problem<T>& problem, int64_t which, int64_t i, double lse, double gradient) {
    if (lse == -INFINITY) return;    // a sum of nothing has no gradient
    constexpr double kLargest = 85;  // e^85 is still a single precision number
    double offset = 1;
    if (!problem.shared) {
      const T rounded = static_cast<T>(lse * problem.tau);
      values[static_cast<size_t>((3 + which) * padded + i)] = rounded;
      offset = rounded;
    }
    const double exponent = offset / problem.tau - lse;
    const double factor = std::exp(exponent > kLargest ? kLargest : exponent);
    values[static_cast<size_t>(which * padded + i)] = static_cast<T>(gradient * factor / problem.tau);
  }
};

// Sum of dL/dS without alignment: every log-sum-exp hands all of its gradient on, divided by tau.
template <class T>
double sum_of_gradients(const Problem<T>& problem, const double* saved, const RowGradients<T>& gradients) {
  const int64_t n = problem.n;
  double total = 0;
  for (int64_t i = 0; i < n; ++i) {  // the cross entropy's own sums to 0
    if (saved[i] == -INFINITY) total -= gradients.cross_entropy * entropy_gradient(problem, saved, i);
    if (gradients.negative_lse != nullptr && saved[i] != -INFINITY) total += gradients.negative_lse[i];
    if (gradients.positive_lse != nullptr && saved[n + i] != -INFINITY) total += gradients.positive_lse[i];
    if (gradients.positive_sum != nullptr) total += gradients.positive_sum[i] * saved[3 * n + i];
  }
  return total / problem.tau;
}

template <class T>
AlignmentGradient<T> alignment_gradient(const Problem<T>& problem, const Scalars& s, double gradient) {
  if (problem.similarity == Similarity::none) return {};
  const double pairs = static_cast<double>(problem.n) * static_cast<double>(problem.m);
  const Rescale scale(problem.similarity, s.range_low, s.range_high);
  const double a = scale.a, x = s.reference - scale.m, d = a * x - 1;
  const double twice = 2 * gradient;  // G = A + A^T
  AlignmentGradient<T> result;
  result.scale = static_cast<T>(twice * 2 * a / pairs);
  result.slope = static_cast<T>(a);
  result.shift = static_cast<T>(d);
  result.low = static_cast<T>(s.low);
  result.high = static_cast<T>(s.high);
  if (problem.similarity == Similarity::minmax) {
    const double residual = a * s.y + s.w + pairs * d;
    const double by_a = 2 / pairs * (a * s.yy + s.yw + d * s.y + x * residual);
    const double by_m = -2 * a / pairs * residual;
    result.low_gradient = static_cast<T>(twice * (by_m + a * a * by_a) / s.low_ties);
    if (s.high_ties > 0) result.high_gradient = static_cast<T>(twice * (-a * a * by_a) / s.high_ties);
  }
  return result;
}

}  // namespace

template <class T>
double backward(Problem<T> problem, const RuleSource& source, int threads, const double* saved,
                const double* block_extremes, const Scalars& scalars, const RowGradients<T>& gradients, T* row_gradient,
                T* column_gradient, bool wants_temperature) {
  const bool square = problem.layout.square;
  const Side<T> side(source, problem.layout, problem.n, problem.m, threads);
  problem.rule = side.rule();
  problem.shared = may_share_maximum(problem);
  problem.reference = static_cast<T>(scalars.reference);
  const Kernels<T>& kernel = kernels<T>();
  const Plan plan(problem);
  const Schedule schedule = plan.schedule(square);
  threads = std::max(1, std::min(threads, static_cast<int>(schedule.width)));
  const Workspaces<T> work(plan, problem, kernel.lanes, true, threads);

  Factors<T> rows(problem, problem.n), columns(problem, square ? 0 : problem.m);
  rows.fill(problem, saved, gradients);
  std::vector<T> positive;  // dL/dS of single positives
  if (problem.layout.positive >= 0) {
    positive.assign(static_cast<size_t>(problem.n), T(0));
    for (int64_t i = 0; i < problem.n; ++i) {
      const double sum = gradients.positive_sum == nullptr ? 0 : gradients.positive_sum[i];
      const double lse_gradient = gradients.positive_lse == nullptr ? 0 : gradients.positive_lse[i];
      const double entropy = -gradients.cross_entropy * entropy_gradient(problem, saved, i);
      positive[static_cast<size_t>(i)] = static_cast<T>((sum + lse_gradient + entropy) / problem.tau);
    }
  }
  // dL/dtau = -1/tau sum A S = -1/tau (sum A (S - reference) + reference sum A), and sum A needs no pass over pairs.
  if (wants_temperature && problem.similarity == Similarity::none) {
    problem.reference = static_cast<T>(reference_similarity(problem));
  }
  const double outer = wants_temperature ? sum_of_gradients(problem, saved, gradients) : 0;
  const AlignmentGradient<T> alignment = alignment_gradient(problem, scalars, gradients.squared_error);
  std::vector<double> temperature(static_cast<size_t>(schedule.row_blocks), 0.0);
  const int64_t blocks = panels_of(problem.n);
  const auto holds = [&](const Turn& turn) {  // an extreme of S lies in this tile only if it is one of both blocks
    const double *lows = block_extremes, *highs = lows + blocks;
    return problem.similarity == Similarity::minmax &&
           ((lows[turn.row] == scalars.low && lows[turn.column] == scalars.low) ||
            (scalars.high_ties > 0 && highs[turn.row] == scalars.high && highs[turn.column] == scalars.high));
  };
  run(schedule, threads, [&](const Turn& turn, int thread) {
    kernel.backward_tile({&problem, plan.tile(problem, turn), work[thread], rows.view(problem),
                          square ? rows.view(problem) : columns.view(problem), alignment, holds(turn),
                          positive.empty() ? nullptr : positive.data(), row_gradient,
                          square ? row_gradient : column_gradient,
                          wants_temperature ? &temperature[static_cast<size_t>(turn.row)] : nullptr});
  });
  double total = problem.reference * outer;
  for (double t : temperature) total += t;
  return -total / problem.tau;
}

template double backward(Problem<float>, const RuleSource&, int, const double*, const double*, const Scalars&,
                         const RowGradients<float>&, float*, float*, bool);
template double backward(Problem<double>, const RuleSource&, int, const double*, const double*, const Scalars&,
                         const RowGradients<double>&, double*, double*, bool);

}  // namespace ecgloss
