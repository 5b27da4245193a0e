// The pair rules on one vector of pairs: row i with columns j, j + 1, ..., from O(N) side information.
//
// A *weighted* rule gives W (the single positive follows from the layout). A *dense* rule gives, for every pair, its
// weight as a positive and its weight as a negative.
//
// W is computed in three places, each for its own kind of loop: here, in ecgloss/pairs/weight_matrix.py (torch) and in
// kernels/weight.py (Triton). A change of M also changes its least value, kLogLeastReliability in rule_data.h.
#pragma once

#include "rule_data.h"
#include "vector.h"

namespace ecgloss {
namespace {

template <class T>
ECGLOSS_INLINE Vector<T> one_where(Mask<T> yes) {
  return yes ? broadcast(T(1)) : broadcast(T(0));
}

template <class T>
constexpr T kLog2E = T(1.4426950408889634074);

template <class T>
struct UniformRule {
  static constexpr bool kWeighted = false, kDense = false, kFeatures = false;
  explicit UniformRule(const Rule<T>&) {}
};

// kPlain: one known risk, power 2, no ceiling, which is the common case.
template <class T, bool kPlain>
struct RiskRule {
  static constexpr bool kWeighted = true, kDense = false, kFeatures = false;
  const Rule<T>& rule;
  explicit RiskRule(const Rule<T>& r) : rule(r) {}

  ECGLOSS_INLINE Vector<T> weight(int64_t i, int64_t j) const {
    const Vector<T> d = kPlain ? plain(i, j) : general(i, j);
    if (rule.row_missing == nullptr) return d;
    const Vector<T> reliability = exp2<T>(load(rule.column_missing + j) * (-kLog2E<T> * rule.row_missing[i]));
    return rule.fallback + reliability * (d - rule.fallback);
  }

 private:
  ECGLOSS_INLINE Vector<T> plain(int64_t i, int64_t j) const {
    const Vector<T> difference = load(rule.column_values + j) - rule.row_values[i];
    return difference * difference * rule.slope + rule.alpha;
  }

  ECGLOSS_INLINE Vector<T> general(int64_t i, int64_t j) const {
    Vector<T> distance = broadcast(T(0));
    for (int64_t c = 0; c < rule.n_values; ++c) {
      const Vector<T> difference =
          load(rule.column_values + c * rule.column_stride + j) - rule.row_values[c * rule.row_stride + i];
      distance += rule.power == 1 ? maximum<T>(difference, -difference) : difference * difference;
    }
    distance *= rule.slope;
    if (rule.clip) distance = minimum<T>(distance, broadcast(rule.ceiling));
    const Vector<T> d = distance + rule.alpha;
    if (rule.row_known == nullptr) return d;
    return load(rule.column_known + j) * rule.row_known[i] > T(0) ? d : broadcast(rule.neutral);
  }
};

template <class T>
ECGLOSS_INLINE Mask<T> same_label(const Rule<T>& rule, int64_t i, int64_t j) {
  Mask<T> label;
  for (int l = 0; l < kLanes<T>; ++l) label[l] = rule.column_labels[j + l];
  return label == rule.row_labels[i] - Mask<T>{};
}

template <class T>
struct LabelRule {
  static constexpr bool kWeighted = false, kDense = true, kFeatures = false;
  const Rule<T>& rule;
  explicit LabelRule(const Rule<T>& r) : rule(r) {}

  ECGLOSS_INLINE void relate(int64_t i, int64_t j, Vector<T>, Vector<T>& positive, Vector<T>& negative) const {
    positive = one_where<T>(same_label(rule, i, j));
    negative = T(1) - positive;
  }
};

template <class T>
struct FeatureRule {
  static constexpr bool kWeighted = false, kDense = true, kFeatures = true;
  const Rule<T>& rule;
  explicit FeatureRule(const Rule<T>& r) : rule(r) {}

  ECGLOSS_INLINE void relate(int64_t i, int64_t j, Vector<T> cosine, Vector<T>& positive, Vector<T>& negative) const {
    positive = one_where<T>(cosine >= broadcast(rule.threshold));  // NaN is neither
    negative = one_where<T>(cosine < broadcast(rule.threshold));
    if (rule.row_labels == nullptr) return;
    positive = maximum<T>(positive, one_where<T>(same_label(rule, i, j)));
    if (!rule.overlap) negative = minimum<T>(negative, T(1) - positive);
  }
};

template <class T>
struct GaussianRule {
  static constexpr bool kWeighted = false, kDense = true, kFeatures = false;
  const Rule<T>& rule;
  explicit GaussianRule(const Rule<T>& r) : rule(r) {}

  ECGLOSS_INLINE void relate(int64_t i, int64_t j, Vector<T>, Vector<T>& positive, Vector<T>& negative) const {
    Vector<T> distance = broadcast(T(0));
    for (int64_t c = 0; c < rule.n_values; ++c) {
      const Vector<T> difference =
          load(rule.column_values + c * rule.column_stride + j) - rule.row_values[c * rule.row_stride + i];
      distance += difference * difference;
    }
    const Vector<T> x = -kLog2E<T> * distance;
    positive =
        x < broadcast(Lanes<T>::kLowest) ? broadcast(T(0)) : exp2<T>(x);  // e^x below the smallest normal number is 0
    negative = broadcast(T(1));
  }
};

// Calls f with a null pointer to the class of a rule.
template <class T, class F>
void with_rule(const Rule<T>& rule, F f) {
  switch (rule.kind) {
    case Kind::uniform:
      return f(static_cast<UniformRule<T>*>(nullptr));
    case Kind::risk:
      if (rule.plain) return f(static_cast<RiskRule<T, true>*>(nullptr));
      return f(static_cast<RiskRule<T, false>*>(nullptr));
    case Kind::labels:
      return f(static_cast<LabelRule<T>*>(nullptr));
    case Kind::features:
      return f(static_cast<FeatureRule<T>*>(nullptr));
    case Kind::gaussian:
      return f(static_cast<GaussianRule<T>*>(nullptr));
  }
}

template <class P>
struct Pointed;
template <class R>
struct Pointed<R*> {
  using type = R;
};

}  // namespace
}  // namespace ecgloss
