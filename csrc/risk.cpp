#include "risk.h"

#include <algorithm>
#include <cmath>

#include "parallel.h"

namespace ecgloss {
namespace {

constexpr double kRiskEpsilon = 1e-6;  // keeps the min-max scale finite when all risks are equal, as the paper's code

bool is_known(const RiskVectors& vectors, int64_t b) {
  return vectors.known.empty() || vectors.known[static_cast<size_t>(b)] > 0;
}

// Replaces unknown risks by 0.
void clear_unknown(const Encoding& rule, RiskVectors& vectors) {
  const int64_t k = rule.code.width;
  for (int64_t b = 0; b < rule.code.samples; ++b) {
    double* row = vectors.risks.data() + b * k;
    if (std::none_of(row, row + k, [](double r) { return std::isnan(r); })) continue;
    if (rule.code.unknown_is_zero) {
      std::replace_if(
          row, row + k, [](double r) { return std::isnan(r); }, 0.0);
      continue;
    }
    if (vectors.known.empty()) vectors.known.assign(static_cast<size_t>(rule.code.samples), 1.0);
    vectors.known[static_cast<size_t>(b)] = 0;
    std::fill(row, row + k, 0.0);
  }
}

// Subtracts the mean of the known risks: only differences matter, and those of small numbers cancel less.
void centre(const Encoding& rule, RiskVectors& vectors) {
  const int64_t k = rule.code.width;
  for (int64_t c = 0; c < k; ++c) {
    double total = 0, count = 0;
    for (int64_t b = 0; b < rule.code.samples; ++b) {
      if (is_known(vectors, b)) total += vectors.risks[static_cast<size_t>(b * k + c)], count += 1;
    }
    const double mean = total / count;
    for (int64_t b = 0; b < rule.code.samples; ++b) {
      if (is_known(vectors, b)) vectors.risks[static_cast<size_t>(b * k + c)] -= mean;
    }
  }
}

// Calls f(b, sum over c of min(Delta_bc, ceiling), max over c of Delta_bc) for the known samples b; c over the known
// samples other than b.
template <class F>
void for_distances(const Encoding& rule, const RiskVectors& vectors, double ceiling, int threads, F f) {
  const int64_t k = rule.code.width;
  for_each(rule.code.samples, threads, [&](int64_t b) {
    if (!is_known(vectors, b)) return;
    double total = 0, largest = 0;
    for (int64_t c = 0; c < rule.code.samples; ++c) {
      if (c == b || !is_known(vectors, c)) continue;
      double distance = 0;
      for (int64_t d = 0; d < k; ++d) {
        const double difference =
            vectors.risks[static_cast<size_t>(b * k + d)] - vectors.risks[static_cast<size_t>(c * k + d)];
        distance += rule.code.power == 1 ? std::fabs(difference) : difference * difference;
      }
      total += std::min(distance, ceiling);
      largest = std::max(largest, distance);
    }
    f(b, total, largest);
  });
}

// max Delta over pairs of known samples; for one risk from its range.
double largest_distance(const Encoding& rule, const RiskVectors& vectors, int threads) {
  if (rule.code.width == 1) {
    double low = INFINITY, high = -INFINITY;
    for (int64_t b = 0; b < rule.code.samples; ++b) {
      if (!is_known(vectors, b)) continue;
      low = std::min(low, vectors.risks[static_cast<size_t>(b)]);
      high = std::max(high, vectors.risks[static_cast<size_t>(b)]);
    }
    const double range = high > low ? high - low : 0;
    return rule.code.power == 1 ? range : range * range;
  }
  std::vector<double> rows(static_cast<size_t>(rule.code.samples), 0.0);
  for_distances(rule, vectors, INFINITY, threads,
                [&](int64_t b, double, double largest) { rows[static_cast<size_t>(b)] = largest; });
  return rows.empty() ? 0 : *std::max_element(rows.begin(), rows.end());
}

// Sum of Delta^ over ordered pairs of different known samples.
double sum_of_distances(const Encoding& rule, const RiskVectors& vectors, double scale, double known, int threads) {
  const double fixed_scale = rule.numbers.fixed_scale;
  double total = 0;
  if (rule.code.power == 2 && fixed_scale == 0) {  // the risks sum to 0
    for (double r : vectors.risks) total += r * r;
    return scale * 2 * known * total;
  }
  std::vector<double> rows(static_cast<size_t>(rule.code.samples), 0.0);
  for_distances(rule, vectors, fixed_scale == 0 ? INFINITY : fixed_scale, threads,
                [&](int64_t b, double sum, double) { rows[static_cast<size_t>(b)] = sum; });
  for (double row : rows) total += row;
  return scale * total;
}

}  // namespace

RiskVectors centred_risks(const Encoding& rule) {
  RiskVectors vectors;
  if (rule.code.kind != Kind::risk) return vectors;
  vectors.risks.assign(rule.side.values, rule.side.values + rule.code.samples * rule.code.width);
  clear_unknown(rule, vectors);
  centre(rule, vectors);
  return vectors;
}

RiskNumbers resolve(const Encoding& rule, const RiskVectors& vectors, int threads) {
  RiskNumbers numbers;
  if (rule.code.kind != Kind::risk) return numbers;
  const double alpha = rule.numbers.alpha, fixed_scale = rule.numbers.fixed_scale;
  const double largest = largest_distance(rule, vectors, threads);
  numbers.all_equal = largest == 0 ? 1 : 0;
  numbers.scale = fixed_scale == 0 ? 1 / (largest + kRiskEpsilon) : 1 / fixed_scale;
  const bool reverts = rule.code.revert && rule.side.missing != nullptr;
  if (vectors.known.empty() && !reverts) return numbers;
  const auto samples = static_cast<double>(rule.code.samples);
  double known = samples;
  if (!vectors.known.empty()) known = static_cast<double>(std::count(vectors.known.begin(), vectors.known.end(), 1.0));
  const double known_pairs = known * (known - 1), pairs = samples * (samples - 1);
  const double total = sum_of_distances(rule, vectors, numbers.scale, known, threads);
  if (!vectors.known.empty() && known_pairs > 0) numbers.neutral = total / known_pairs;
  if (reverts) numbers.fallback = alpha + (1 - alpha) * (total + (pairs - known_pairs) * numbers.neutral) / pairs;
  return numbers;
}

}  // namespace ecgloss
