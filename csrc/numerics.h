// Numerical decisions that forward and backward make alike.
#pragma once

#include <cmath>

#include "packing.h"
#include "problem.h"

namespace ecgloss {

// Whether 1/tau can be the maximum of every row, so that one exponential per pair serves both of its rows: then
// omega e^((S - 1)/tau) must be a normal number in single precision. The exponent is at least -2/tau, and a weight W is
// at least e^kLogLeastReliability alpha; together they must stay above -80, the least normal number being e^-87.
template <class T>
bool has_fixed_maximum(const Problem<T>& problem) {
  const double least_dissimilarity = problem.rule.alpha > T(0) ? static_cast<double>(problem.rule.alpha) : 1e-20;
  const double log_least_weight =
      problem.rule.weighting == Weighting::linear ? kLogLeastReliability + std::log(least_dissimilarity) : 0;
  return 2 / problem.tau - log_least_weight < 80;
}

// About the mean of S: sums of Y = S - origin cancel less than sums of S.
template <class T>
double typical_similarity(const Problem<T>& problem) {
  return mean_similarity(problem.rows, problem.n, problem.columns, problem.m, problem.width);
}

// S^ = stretch (S - start).
struct Rescaling {
  double stretch = 1, start = 0;
  Rescaling(Alignment alignment, double low, double high) {
    constexpr double kRangeEpsilon = 1e-6;  // as the paper's code
    if (alignment == Alignment::minmax) stretch = 1 / (high - low + kRangeEpsilon), start = low;
  }
};

}  // namespace ecgloss
