// From a rule as Python encodes it (double precision, one entry per sample or row) to the vectors the kernels read
// (their own type, one entry per row, padded).
#pragma once

#include <cstdint>
#include <vector>

#include "kernel_table.h"
#include "risk.h"

namespace ecgloss {

// Owns the vectors of a Rule.
template <class T>
class PreparedRule {
 public:
  // vectors and numbers: of the risks; without content for other rules.
  PreparedRule(const Encoding& encoding, const RiskVectors& vectors, const RiskNumbers& numbers, const Layout& layout,
               int64_t n, int64_t m, int threads);
  PreparedRule(const PreparedRule&) = delete;
  PreparedRule& operator=(const PreparedRule&) = delete;

  const Rule<T>& rule() const { return rule_; }

 private:
  void add_risk(const Encoding& encoding, const RiskVectors& vectors, const RiskNumbers& numbers, bool square,
                int64_t n, int64_t m);
  void add_labels(const Side& side, bool square, int64_t n, int64_t m);
  const T* spread(const double* values, int64_t width, int64_t period, int64_t count);

  Rule<T> rule_;
  std::vector<std::vector<T>> vectors_;
  std::vector<std::vector<int32_t>> labels_;
};

// log of what the omega of a row are divided by [n]: log mean W or log sum e^W; 0 for Norm::none.
template <class T>
std::vector<double> log_normalisers(const Problem<T>& problem, const Encoding& encoding, const Kernels<T>& kernels,
                                    int threads);

}  // namespace ecgloss
