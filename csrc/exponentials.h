// omega e^((S - row_max)/tau) of one vector of pairs, and the sums of W from which normalisers follow.
#pragma once

#include "problem.h"
#include "rules.h"

namespace ecgloss {
namespace {

// Weights of one vector of pairs.
template <class T>
struct Weights {
  Vector<T> risk;      // W, 0 where the pair is excluded
  Vector<T> negative;  // omega
  Vector<T> positive;  // w
};

template <class T, class R>
ECGLOSS_INLINE Weights<T> weigh(const R& rule, const Rule<T>& numbers, int64_t i, int64_t j, Vector<T> cosine,
                                Vector<T> keep) {
  Weights<T> w{{}, broadcast(T(1)), {}};
  if constexpr (R::kWeighted) {
    w.risk = rule.weight(i, j) * keep;
    if (numbers.weighting == Weighting::linear) w.negative = w.risk;
    if (numbers.weighting == Weighting::exponential) w.negative = exp2<T>(w.risk * kLog2E<T>);
  }
  if constexpr (R::kDense) rule.relate(i, j, cosine, w.positive, w.negative);
  w.negative *= keep;
  w.positive *= keep;
  return w;
}

// Multiplies by log2(e)/tau as a sum of two numbers: the rounding error of a single one would be common to all pairs.
template <class T>
struct Scale {
  T high, low;
  explicit Scale(double tau)
      : high(static_cast<T>(1.4426950408889634074 / tau)),
        low(static_cast<T>(1.4426950408889634074 / tau - static_cast<double>(high))) {}
  ECGLOSS_INLINE Vector<T> operator()(Vector<T> s) const { return s * high + s * low; }
};

// omega e^((S - 1)/tau), with 1/tau as maximum of every row. One exponential: e^W goes into the exponent.
template <class T, class R, bool kGeneral>
ECGLOSS_INLINE Vector<T> fixed_maximum_exponential(const R& rule, const Rule<T>& numbers, Vector<T> s, Scale<T> scale,
                                                   int64_t i, int64_t j, Vector<T> keep, Vector<T>& risk) {
  Vector<T> x = scale(s - T(1));
  if constexpr (R::kWeighted) {
    risk = rule.weight(i, j);
    if (kGeneral) risk *= keep;
    if (numbers.weighting == Weighting::exponential) x += risk * kLog2E<T>;
  }
  Vector<T> e = exp2<T>(x);
  if constexpr (R::kWeighted) {
    if (numbers.weighting == Weighting::linear) e *= risk;
  }
  if (kGeneral) e *= keep;
  return e;
}

// e^((S - row_max)/tau). An excluded pair may exceed row_max by any amount; its exponential is cut at a finite number,
// so that its weight 0 makes it 0.
template <class T>
ECGLOSS_INLINE Vector<T> row_max_exponential(Vector<T> s, Vector<T> row_max, Scale<T> scale) {
  const Vector<T> x = scale(s - row_max);
  return exp2<T>(x > broadcast(Lanes<T>::kHighest) ? broadcast(Lanes<T>::kHighest) : x);
}

// total = sum of W, or of e^W, of one row over columns 0 .. columns - 1, with W = 0 in the columns `own`
// [kMaxExcluded].
template <class T, class R>
void weight_sums(const Problem<T>& problem, int64_t row, int64_t columns, bool exponential, const int64_t* own,
                 double* total) {
  const R rule(problem.rule);
  Vector<T> index;
  for (int l = 0; l < kLanes<T>; ++l) index[l] = static_cast<T>(l);
  Vector<T> sums = {};
  *total = 0;
  for (int64_t j = 0; j < columns; j += kLanes<T>) {
    Vector<T> w = rule.weight(row, j);
    for (int t = 0; t < kMaxExcluded; ++t) {
      w = index == broadcast(static_cast<T>(own[t] - j)) ? broadcast(T(0)) : w;
    }
    if (exponential) w = exp2<T>(w * kLog2E<T>);
    sums += index < broadcast(static_cast<T>(columns - j)) ? w : broadcast(T(0));
    if (j % 4096 == 0) *total += sum<T>(sums), sums = Vector<T>{};  // short sums in T
  }
  *total += sum<T>(sums);
}

}  // namespace
}  // namespace ecgloss
