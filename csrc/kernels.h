// The table of functions for the instruction set this is compiled for. Included last by each kernels_*.cpp.
#pragma once

#include "backward_tile.h"
#include "kernel_table.h"
#include "row_panels.h"

namespace ecgloss {
namespace {

template <class T>
void any_row_max(const ForwardTask<T>& task) {
  with_rule(task.problem->rule, [&](auto* rule) { row_max_tile<T, typename Pointed<decltype(rule)>::type>(task); });
}

template <class T>
void any_forward(const ForwardTask<T>& task) {
  with_rule(task.problem->rule, [&](auto* rule) { forward_tile<T, typename Pointed<decltype(rule)>::type>(task); });
}

template <class T>
void any_backward(const BackwardTask<T>& task) {
  with_rule(task.problem->rule, [&](auto* rule) { backward_tile<T, typename Pointed<decltype(rule)>::type>(task); });
}

template <class T>
void any_weight_sums(const Problem<T>& problem, int64_t row, int64_t columns, bool exponential, const int64_t* own,
                     double* total) {
  if (problem.rule.plain) return weight_sums<T, RiskRule<T, true>>(problem, row, columns, exponential, own, total);
  weight_sums<T, RiskRule<T, false>>(problem, row, columns, exponential, own, total);
}

double multiply_adds(int64_t rounds) {
  constexpr int kChains = 12;  // independent, to hide the latency
  FloatVector x[kChains], factor = broadcast(0.999f), term = broadcast(0.001f);
  for (int c = 0; c < kChains; ++c) x[c] = broadcast(static_cast<float>(c));
  for (int64_t t = 0; t < rounds; ++t) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) x[c] = x[c] * factor + term;
  }
  FloatVector total = {};
  for (int c = 0; c < kChains; ++c) total += x[c];
  volatile double used = sum<float>(total);
  (void)used;
  return static_cast<double>(rounds) * kChains * kLanes<float>;
}

constexpr Kernels<float> kSingle = {kLanes<float>,     any_row_max<float>,  any_forward<float>,    any_backward<float>,
                                    pack_panel<float>, unpack_panel<float>, any_weight_sums<float>};
constexpr Kernels<double> kWide = {kLanes<double>,         any_row_max<double>, any_forward<double>,
                                   any_backward<double>,   pack_panel<double>,  unpack_panel<double>,
                                   any_weight_sums<double>};

}  // namespace
}  // namespace ecgloss
