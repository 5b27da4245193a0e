// A pair rule as the kernels read it: O(N) vectors in the type of the computation, and a few numbers.
//
// The rule is uniform, labels, features, gaussian or risk. Of a risk rule,
//
//   D_ik = slope sum_c |r_ic - r_kc|^power + alpha        at most ceiling + alpha, or neutral where a risk is unknown
//   M_ik = exp(-f_i f_k)        W_ik = fallback + M_ik (D_ik - fallback)
#pragma once

#include <cstdint>

#include "rule_code.h"

namespace ecgloss {

// ln of the least M: the exponent is -f_i f_k, and the missing fractions f are at most 1.
constexpr double kLogLeastReliability = -1;

// Weight omega of a negative, before the normaliser of its row.
enum class Weighting : int {
  uniform,      // 1: rules without W
  linear,       // W
  exponential,  // e^W
  all_equal     // 1, the limit of W / mean W = 0 / 0: all risks are equal and alpha = 0
};

// Vectors of rows are [n_values][row_stride], of columns [n_values][column_stride]; null where a kind does not use
// them.
template <class T>
struct Rule {
  Kind kind = Kind::uniform;
  Weighting weighting = Weighting::uniform;
  int64_t n_values = 0;           // risks per sample, metadata per row, or features per row
  const T* row_values = nullptr;  // risk: r; gaussian: metadata; features: panels of unit vectors
  const T* column_values = nullptr;
  int64_t row_stride = 0;     // n, padded to whole panels
  int64_t column_stride = 0;  // m, padded to whole panels
  // risk
  const T* row_known = nullptr;  // 1 or 0; null: all risks are known
  const T* column_known = nullptr;
  const T* row_missing = nullptr;  // f; null: M = 1
  const T* column_missing = nullptr;
  T slope = 0, alpha = 0, neutral = 0, fallback = 0, ceiling = 0;
  int power = 2;       // 1 or 2
  bool clip = false;   // whether the ceiling applies (fixed scale)
  bool plain = false;  // one known risk, power 2, no ceiling
  // labels, features
  const int32_t* row_labels = nullptr;
  const int32_t* column_labels = nullptr;
  T threshold = 0;       // least cosine of similar features
  bool overlap = false;  // dissimilar features of equal labels are negatives as well as positives
};

}  // namespace ecgloss
