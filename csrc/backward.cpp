// Backward pass: dL/dq^ = G k^ and dL/dk^ = G^T q^ from recomputed tiles of S.
//
// Row i has the gain c_i = g_i e^(row_max/tau - lse_i) / tau, where g_i = dL/d(lse_i). The gradient of a pair is then
// G_ik = e_ik (c_i + c_k).
#include <algorithm>
#include <cmath>
#include <vector>

#include "engine.h"
#include "instruction_set.h"
#include "numerics.h"
#include "plan.h"
#include "prepared_rule.h"
#include "schedule.h"

namespace ecgloss {
namespace {

// dL/d(lse of the negatives) of every row through L_w; minus that is dL/d(s of the single positive). [n]
template <class T>
std::vector<double> contrastive_gradient(const Problem<T>& problem, const SavedBuffer& saved, double gradient) {
  std::vector<double> rows(static_cast<size_t>(problem.n), 0.0);
  if (problem.layout.positive < 0) return rows;
  for (int64_t i = 0; i < problem.n; ++i) {
    const double difference = saved.positive_lse[i] - (saved.negative_lse[i] - saved.log_normaliser[i]);
    rows[static_cast<size_t>(i)] = gradient * (1 / (1 + std::exp(difference)) / static_cast<double>(problem.n));
  }
  return rows;
}

// Owns the gains of the rows or of the columns: 0 for the columns of a rectangular problem, which have no statistics.
template <class T>
class Gains {
 public:
  Gains(const Problem<T>& problem, int64_t n) : padded_(panels_of(n) * kPanel) {
    values_.assign(static_cast<size_t>((problem.fixed_maximum ? 3 : 5) * padded_), T(0));
  }

  void fill(const Problem<T>& problem, const SavedBuffer& saved, const Gradients<T>& gradients,
            const std::vector<double>& contrastive) {
    const bool dense = problem.layout.positive < 0;
    for (int64_t i = 0; i < problem.n; ++i) {
      const double outer = gradients.negative_lse == nullptr ? 0 : gradients.negative_lse[i];
      set(problem, 0, i, saved.negative_lse[i], outer + contrastive[static_cast<size_t>(i)]);
      if (!dense) continue;
      if (gradients.positive_lse != nullptr) set(problem, 1, i, saved.positive_lse[i], gradients.positive_lse[i]);
      if (gradients.positive_sum != nullptr) {
        values_[static_cast<size_t>(2 * padded_ + i)] = static_cast<T>(gradients.positive_sum[i] / problem.tau);
      }
    }
  }

  RowGains<T> view(const Problem<T>& problem) const {
    const T* values = values_.data();
    const T* maxima = problem.fixed_maximum ? nullptr : values + 3 * padded_;
    return {values, values + padded_, values + 2 * padded_, maxima, maxima == nullptr ? nullptr : maxima + padded_};
  }

 private:
  // The gain of a log-sum-exp, `which` = 0 for negatives and 1 for positives, from its gradient.
  void set(const Problem<T>& problem, int64_t which, int64_t i, double lse, double gradient) {
    if (lse == -INFINITY) return;    // an empty sum has no gradient
    constexpr double kLargest = 85;  // e^85 is finite in single precision
    double row_max = 1;
    if (!problem.fixed_maximum) {
      const T rounded = static_cast<T>(lse * problem.tau);
      values_[static_cast<size_t>((3 + which) * padded_ + i)] = rounded;
      row_max = rounded;
    }
    const double exponent = row_max / problem.tau - lse;
    const double factor = std::exp(exponent > kLargest ? kLargest : exponent);
    values_[static_cast<size_t>(which * padded_ + i)] = static_cast<T>(gradient * factor / problem.tau);
  }

  int64_t padded_;
  std::vector<T> values_;  // [5][padded]: negative, positive, similarity and, without fixed maximum, row_max of both
};

// dL/dS of the single positives [n]; empty where there are none.
template <class T>
std::vector<T> positive_gradient(const Problem<T>& problem, const Gradients<T>& gradients,
                                 const std::vector<double>& contrastive) {
  std::vector<T> rows;
  if (problem.layout.positive < 0) return rows;
  rows.assign(static_cast<size_t>(problem.n), T(0));
  for (int64_t i = 0; i < problem.n; ++i) {
    const double sum = gradients.positive_sum == nullptr ? 0 : gradients.positive_sum[i];
    const double lse = gradients.positive_lse == nullptr ? 0 : gradients.positive_lse[i];
    rows[static_cast<size_t>(i)] = static_cast<T>((sum + lse - contrastive[static_cast<size_t>(i)]) / problem.tau);
  }
  return rows;
}

// Sum over all pairs of dL/dS without L_d: the softmax of a row sums to 1, so each lse contributes its gradient / tau.
template <class T>
double sum_of_gradients(const Problem<T>& problem, const SavedBuffer& saved, const Gradients<T>& gradients,
                        const std::vector<double>& contrastive) {
  double total = 0;
  for (int64_t i = 0; i < problem.n; ++i) {  // L_w itself contributes 0, except where a row has no negatives
    const bool has_negatives = saved.negative_lse[i] != -INFINITY, has_positives = saved.positive_lse[i] != -INFINITY;
    if (!has_negatives) total -= contrastive[static_cast<size_t>(i)];
    if (gradients.negative_lse != nullptr && has_negatives) total += gradients.negative_lse[i];
    if (gradients.positive_lse != nullptr && has_positives) total += gradients.positive_lse[i];
    if (gradients.positive_sum != nullptr) total += gradients.positive_sum[i] * saved.positive_count[i];
  }
  return total / problem.tau;
}

template <class T>
AlignmentGradient<T> alignment_gradient(const Problem<T>& problem, const Scalars& s, double gradient) {
  if (problem.alignment == Alignment::none) return {};
  const double pairs = static_cast<double>(problem.n) * static_cast<double>(problem.m);
  const Rescaling scaled(problem.alignment, s.range_low, s.range_high);
  const double a = scaled.stretch, x = s.origin - scaled.start, d = a * x - 1;
  const double twice = 2 * gradient;  // G = A + A^T
  AlignmentGradient<T> result;
  result.scale = static_cast<T>(twice * 2 * a / pairs);
  result.stretch = static_cast<T>(a);
  result.shift = static_cast<T>(d);
  if (problem.alignment == Alignment::minmax) {
    const double residual = a * s.y + s.w + pairs * d;  // sum of S^ - T
    const double by_stretch = 2 / pairs * (a * s.yy + s.yw + d * s.y + x * residual);
    const double by_start = -2 * a / pairs * residual;
    result.low = static_cast<T>(s.low);
    result.high = static_cast<T>(s.high);
    result.low_gradient = static_cast<T>(twice * (by_start + a * a * by_stretch) / s.low_ties);
    if (s.high_ties > 0) result.high_gradient = static_cast<T>(twice * (-a * a * by_stretch) / s.high_ties);
  }
  return result;
}

// Whether a tile may hold an extreme of S that gets gradient: only if it is the extreme of both of its blocks.
bool may_hold_extreme(const SavedBuffer& saved, const Turn& turn) {
  const Scalars& s = *saved.scalars;
  return (saved.block_low[turn.row] == s.low && saved.block_low[turn.column] == s.low) ||
         (s.high_ties > 0 && saved.block_high[turn.row] == s.high && saved.block_high[turn.column] == s.high);
}

}  // namespace

template <class T>
double backward(Problem<T> problem, const Encoding& encoding, int threads, const SavedBuffer& saved,
                const Gradients<T>& gradients, T* row_gradient, T* column_gradient, bool wants_temperature) {
  const bool square = problem.layout.square, minmax = problem.alignment == Alignment::minmax;
  const Scalars& scalars = *saved.scalars;
  const PreparedRule<T> prepared(encoding, centred_risks(encoding), scalars.risk, problem.layout, problem.n, problem.m,
                                 threads);
  problem.rule = prepared.rule();
  problem.fixed_maximum = has_fixed_maximum(problem);
  problem.origin = static_cast<T>(scalars.origin);
  const Kernels<T>& kernel = kernels<T>();
  const Plan plan(problem);
  const Schedule schedule = plan.schedule(square);
  threads = std::max(1, std::min(threads, static_cast<int>(schedule.width)));
  const Workspaces<T> work(plan, problem, kernel.lanes, true, threads);

  const std::vector<double> contrastive = contrastive_gradient(problem, saved, gradients.contrastive);
  Gains<T> rows(problem, problem.n), columns(problem, square ? 0 : problem.m);
  rows.fill(problem, saved, gradients, contrastive);
  const std::vector<T> positive = positive_gradient(problem, gradients, contrastive);
  const AlignmentGradient<T> alignment = alignment_gradient(problem, scalars, gradients.alignment);
  // With A = dL/dS: dL/dtau = -1/tau sum A S = -1/tau (sum A (S - origin) + origin sum A), and sum A follows from the
  // rows. Without L_d the forward needs no origin.
  if (wants_temperature && problem.alignment == Alignment::none) {
    problem.origin = static_cast<T>(typical_similarity(problem));
  }
  std::vector<double> weighted_gradient(static_cast<size_t>(schedule.row_blocks), 0.0);
  run(schedule, threads, [&](const Turn& turn, const Turn& upcoming, int thread) {
    kernel.backward_tile({&problem, plan.tile(problem, turn), plan.tile(problem, upcoming), work[thread],
                          rows.view(problem),
                          square ? rows.view(problem) : columns.view(problem), alignment,
                          minmax && may_hold_extreme(saved, turn), positive.empty() ? nullptr : positive.data(),
                          row_gradient, square ? row_gradient : column_gradient, turn.row_turn == 0,
                          turn.column_turn == 0,
                          wants_temperature ? &weighted_gradient[static_cast<size_t>(turn.row)] : nullptr});
  });
  if (!wants_temperature) return 0;
  double total = problem.origin * sum_of_gradients(problem, saved, gradients, contrastive);
  for (double block : weighted_gradient) total += block;
  return -total / problem.tau;
}

template double backward(Problem<float>, const Encoding&, int, const SavedBuffer&, const Gradients<float>&, float*,
                         float*, bool);
template double backward(Problem<double>, const Encoding&, int, const SavedBuffer&, const Gradients<double>&, double*,
                         double*, bool);

}  // namespace ecgloss
