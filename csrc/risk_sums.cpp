#include "risk_sums.h"

#include <algorithm>
#include <cmath>

namespace ecgloss {

template <class T>
RiskSums::RiskSums(const Rule<T>& rule, int64_t rows, int64_t columns, bool exponential)
    : slope_(rule.slope), alpha_(rule.alpha), columns_(static_cast<double>(columns)), exponential_(exponential) {
  const auto [row_low, row_high] = std::minmax_element(rule.row_values, rule.row_values + rows);
  const auto [low, high] = std::minmax_element(rule.column_values, rule.column_values + columns);
  centre_ = (static_cast<double>(std::min(*row_low, *low)) + static_cast<double>(std::max(*row_high, *high))) / 2;
  for (int64_t k = 0; k < columns; ++k) {
    const double y = static_cast<double>(rule.column_values[k]) - centre_;
    double term = exponential ? std::exp(slope_ * y * y) : 1;
    for (int p = 0; p < kTerms; ++p, term *= y) powers_[static_cast<size_t>(p)] += term;
  }
}

double RiskSums::over_all(double r) const {
  const double x = r - centre_;
  if (!exponential_) {
    return slope_ * (columns_ * x * x - 2 * x * powers_[1] + powers_[2]) + columns_ * alpha_;
  }
  double total = 0, factor = 1;
  for (int p = 0; p < kTerms; ++p) {
    total += factor * powers_[static_cast<size_t>(p)];
    factor *= -2 * slope_ * x / (p + 1);
  }
  return std::exp(alpha_ + slope_ * x * x) * total;
}

double RiskSums::of_pair(double r, double column) const {
  const double w = slope_ * (r - column) * (r - column) + alpha_;
  return exponential_ ? std::exp(w) : w;
}

template RiskSums::RiskSums(const Rule<float>&, int64_t, int64_t, bool);
template RiskSums::RiskSums(const Rule<double>&, int64_t, int64_t, bool);

}  // namespace ecgloss
