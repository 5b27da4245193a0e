// What forward and backward have in common.
#pragma once

#include <cmath>

#include "engine.h"
#include "panels.h"

namespace ecgloss {

// Whether e^((S - 1)/tau) of every pair that counts is a normal number in single precision, so that all rows may share
// the fixed maximum 1/tau and a pair needs one exponential: 2/tau plus what weights may add must stay below 80 < 87.
template <class T>
bool may_share_maximum(const Problem<T>& problem) {
  const double smallest_weight = problem.rule.alpha > T(0) ? static_cast<double>(problem.rule.alpha) : 1e-20;
  const double margin = problem.rule.weighting == Weighting::linear ? 1 - std::log(smallest_weight) : 0;
  return 2 / problem.tau + margin < 80;
}

// About the mean of S: sums of deviations from it cancel less.
template <class T>
double reference_similarity(const Problem<T>& problem) {
  return mean_similarity(problem.rows, problem.n, problem.columns, problem.m, problem.width);
}

// (a, m) with S^ = a (S - m).
struct Rescale {
  double a = 1, m = 0;
  Rescale(Similarity similarity, double low, double high) {
    constexpr double kRangeEpsilon = 1e-6;  // the value is the paper's code's
    if (similarity == Similarity::minmax) a = 1 / (high - low + kRangeEpsilon), m = low;
  }
};

}  // namespace ecgloss
