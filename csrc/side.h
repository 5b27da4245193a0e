// Side information: from what the caller holds (double precision, one row per sample) to what the kernels read (their
// own type, padded, one array per value).
#pragma once

#include <cstdint>
#include <vector>

#include "problem.h"
#include "risk.h"

namespace ecgloss {

enum class Norm : int { none, mean, softmax };  // of omega over a row

// A rule as the caller describes it; null pointers for what does not apply.
struct RuleSource {
  Kind kind = Kind::uniform;
  // Row i is sample i mod samples in a square problem; otherwise rows are the first n samples and columns the others.
  RiskSource risk;
  Norm norm = Norm::none;
  // features (unit vectors), gaussian (metadata / (sigma sqrt 2)): [n][n_values], [m][n_values]
  int64_t n_values = 0;
  const double* row_values = nullptr;
  const double* column_values = nullptr;
  double threshold = 0;
  const int64_t* row_labels = nullptr;
  const int64_t* column_labels = nullptr;
  bool overlap = false;
};

// Owns the arrays of a Rule.
template <class T>
class Side {
 public:
  Side(const RuleSource& source, const Layout& layout, int64_t n, int64_t m, int threads);
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;

  const Rule<T>& rule() const { return rule_; }

 private:
  void add_risk(const RuleSource& source, bool square, int64_t n, int64_t m, int threads);
  void add_labels(const RuleSource& source, bool square, int64_t n, int64_t m);
  const T* spread(const double* values, int64_t n_values, int64_t first, int64_t period, int64_t count);

  Rule<T> rule_;
  std::vector<std::vector<T>> arrays_;
  std::vector<std::vector<int32_t>> labels_;
};

// log of the row factor of omega (0 for Norm::none): -log mean W, or -log sum e^W.  [n]
template <class T>
std::vector<double> row_offsets(const Problem<T>& problem, const RuleSource& source, const Kernels<T>& kernels,
                                int threads);

}  // namespace ecgloss
