// Sums of W and of e^W over the columns of a row, in O(1) per row, where W depends on one known risk alone.
//
// With W_ik = slope (r_i - r_k)^2 + alpha, x = r_i - c and y = r_k - c,
//
//   sum_k W_ik   = slope (m x^2 - 2 x sum y + sum y^2) + m alpha
//   sum_k e^W_ik = e^(alpha + slope x^2) sum_p (-2 slope x)^p / p!  sum_k e^(slope y_k^2) y_k^p
//
// slope (max r - min r)^2 <= 1 (min-max scaling), so with c in the middle |2 slope x y| <= 1/2, and 14 terms leave a
// relative error below 1e-14.
#pragma once

#include <array>

#include "problem.h"

namespace ecgloss {

class RiskSums {
 public:
  // Whether the rule is one known risk with complete metadata, scaled as above.
  template <class T>
  static bool apply(const Rule<T>& rule) {
    return rule.plain && rule.row_missing == nullptr;
  }

  // Over columns 0 .. columns - 1 of the rule; rows: number of rows.
  template <class T>
  RiskSums(const Rule<T>& rule, int64_t rows, int64_t columns, bool exponential);

  // Of the row with risk r, over all columns.
  double over_all(double r) const;

  // W of a row and a column, or e^W.
  double of_pair(double r, double column) const;

 private:
  static constexpr int kTerms = 14;
  double slope_, alpha_, centre_, columns_;
  bool exponential_;
  std::array<double, kTerms> powers_ = {};  // sum of y^p, or of e^(slope y^2) y^p
};

}  // namespace ecgloss
