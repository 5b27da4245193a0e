// omega e^{(S - offset)/tau} of one vector of pairs, and the row factors of omega.
#pragma once

#include "rules.h"

namespace ecgloss {
namespace {

// What one vector of pairs weighs: omega of the negatives, w of the positives.
template <class T>
struct Weights {
  Vector<T> risk;      // W, 0 where the pair is excluded
  Vector<T> negative;  // omega
  Vector<T> positive;
};

template <class T, class R>
ECGLOSS_INLINE Weights<T> weigh(const R& rule, const Rule<T>& facts, int64_t i, int64_t j, Vector<T> cosine,
                                Vector<T> keep) {
  Weights<T> w{{}, broadcast(T(1)), {}};
  if constexpr (R::kWeighted) {
    w.risk = rule.weight(i, j) * keep;
    if (facts.weighting == Weighting::linear) w.negative = w.risk;
    if (facts.weighting == Weighting::exponential) w.negative = exp2<T>(w.risk * kLog2E<T>);
  }
  if constexpr (R::kDense) rule.relate(i, j, cosine, w.positive, w.negative);
  w.negative *= keep;
  w.positive *= keep;
  return w;
}

// log2(e)/tau in two parts: rounded to one number it would shift all exponentials the same way.
template <class T>
struct Scale {
  T high, low;
  explicit Scale(double tau)
      : high(static_cast<T>(1.4426950408889634074 / tau)),
        low(static_cast<T>(1.4426950408889634074 / tau - static_cast<double>(high))) {}
  ECGLOSS_INLINE Vector<T> operator()(Vector<T> s) const { return s * high + s * low; }
};

// omega exp((S - 1)/tau) with one exponential: e^W goes into the exponent.
template <class T, class R, bool kGeneral>
ECGLOSS_INLINE Vector<T> shared_exponential(const R& rule, const Rule<T>& facts, Vector<T> s, Scale<T> scale, int64_t i,
                                            int64_t j, Vector<T> keep, Vector<T>& risk) {
  Vector<T> x = scale(s - T(1));
  if constexpr (R::kWeighted) {
    risk = rule.weight(i, j);
    if (kGeneral) risk *= keep;
    if (facts.weighting == Weighting::exponential) x += risk * kLog2E<T>;
  }
  Vector<T> e = exp2<T>(x);
  if constexpr (R::kWeighted) {
    if (facts.weighting == Weighting::linear) e *= risk;
  }
  if (kGeneral) e *= keep;
  return e;
}

// exp((s - offset)/tau) about an offset that excluded pairs may exceed by any amount: finite, so that 0 times it is 0.
template <class T>
ECGLOSS_INLINE Vector<T> offset_exponential(Vector<T> s, Vector<T> offset, Scale<T> scale) {
  const Vector<T> x = scale(s - offset);
  return exp2<T>(x > broadcast(Lanes<T>::kHighest) ? broadcast(Lanes<T>::kHighest) : x);
}

// Sum of W, or of e^W, of row i over columns 0 .. columns - 1; W counts as 0 in the columns `own`.
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
    if (j % 4096 == 0) *total += sum<T>(sums), sums = Vector<T>{};  // short runs in T
  }
  *total += sum<T>(sums);
}

}  // namespace
}  // namespace ecgloss
