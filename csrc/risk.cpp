#include "risk.h"

#include <algorithm>
#include <cmath>

#include "parallel.h"

namespace ecgloss {
namespace {

constexpr double kRiskEpsilon = 1e-6;  // keeps the min-max scale finite when all risks are equal, as the paper's code

bool is_known(const RiskNumbers& numbers, int64_t b) {
  return numbers.known.empty() || numbers.known[static_cast<size_t>(b)] > 0;
}

void read_risks(const RiskSource& source, RiskNumbers& numbers) {
  const int64_t k = source.n_values;
  numbers.risks.assign(source.risks, source.risks + source.samples * k);
  for (int64_t b = 0; b < source.samples; ++b) {
    double* row = numbers.risks.data() + b * k;
    if (std::none_of(row, row + k, [](double r) { return std::isnan(r); })) continue;
    if (source.unknown_is_zero) {
      std::replace_if(row, row + k, [](double r) { return std::isnan(r); }, 0.0);
      continue;
    }
    if (numbers.known.empty()) numbers.known.assign(static_cast<size_t>(source.samples), 1.0);
    numbers.known[static_cast<size_t>(b)] = 0;
    std::fill(row, row + k, 0.0);
  }
}

// Only differences count, and small numbers cancel less.
void centre(const RiskSource& source, RiskNumbers& numbers) {
  const int64_t k = source.n_values;
  for (int64_t c = 0; c < k; ++c) {
    double total = 0, count = 0;
    for (int64_t b = 0; b < source.samples; ++b) {
      if (is_known(numbers, b)) total += numbers.risks[static_cast<size_t>(b * k + c)], count += 1;
    }
    for (int64_t b = 0; b < source.samples; ++b) {
      if (is_known(numbers, b)) numbers.risks[static_cast<size_t>(b * k + c)] -= total / count;
    }
  }
}

// Calls f(sample, sum of distances to the known samples c != b cut at `ceiling`, largest distance) for known samples.
template <class F>
void for_distances(const RiskSource& source, const RiskNumbers& numbers, double ceiling, int threads, F f) {
  const int64_t k = source.n_values;
  for_each(source.samples, threads, [&](int64_t b) {
    if (!is_known(numbers, b)) return;
    double total = 0, largest = 0;
    for (int64_t c = 0; c < source.samples; ++c) {
      if (c == b || !is_known(numbers, c)) continue;
      double distance = 0;
      for (int64_t d = 0; d < k; ++d) {
        const double difference =
            numbers.risks[static_cast<size_t>(b * k + d)] - numbers.risks[static_cast<size_t>(c * k + d)];
        distance += source.absolute ? std::fabs(difference) : difference * difference;
      }
      total += std::min(distance, ceiling);
      largest = std::max(largest, distance);
    }
    f(b, total, largest);
  });
}

double largest_distance(const RiskSource& source, const RiskNumbers& numbers, int threads) {
  if (source.n_values == 1) {
    double low = INFINITY, high = -INFINITY;
    for (int64_t b = 0; b < source.samples; ++b) {
      if (!is_known(numbers, b)) continue;
      low = std::min(low, numbers.risks[static_cast<size_t>(b)]);
      high = std::max(high, numbers.risks[static_cast<size_t>(b)]);
    }
    const double range = high > low ? high - low : 0;
    return source.absolute ? range : range * range;
  }
  std::vector<double> rows(static_cast<size_t>(source.samples), 0.0);
  for_distances(source, numbers, INFINITY, threads,
                [&](int64_t b, double, double largest) { rows[static_cast<size_t>(b)] = largest; });
  return rows.empty() ? 0 : *std::max_element(rows.begin(), rows.end());
}

// Sum of Delta^ over ordered pairs of different known samples.
double sum_of_distances(const RiskSource& source, const RiskNumbers& numbers, double known, int threads) {
  double total = 0;
  if (!source.absolute && source.fixed_scale == 0) {  // the risks sum to 0
    for (double r : numbers.risks) total += r * r;
    return numbers.scale * 2 * known * total;
  }
  const double ceiling = source.fixed_scale == 0 ? INFINITY : source.fixed_scale;
  std::vector<double> rows(static_cast<size_t>(source.samples), 0.0);
  for_distances(source, numbers, ceiling, threads,
                [&](int64_t b, double sum, double) { rows[static_cast<size_t>(b)] = sum; });
  for (double row : rows) total += row;
  return numbers.scale * total;
}

}  // namespace

RiskNumbers summarise(const RiskSource& source, int threads) {
  RiskNumbers numbers;
  read_risks(source, numbers);
  centre(source, numbers);
  const double largest = largest_distance(source, numbers, threads);
  numbers.all_equal = largest == 0;
  numbers.scale = source.fixed_scale == 0 ? 1 / (largest + kRiskEpsilon) : 1 / source.fixed_scale;
  const bool reverts = source.revert && source.missing != nullptr;
  if (numbers.known.empty() && !reverts) return numbers;
  const auto samples = static_cast<double>(source.samples);
  double known = samples;
  if (!numbers.known.empty()) known = static_cast<double>(std::count(numbers.known.begin(), numbers.known.end(), 1.0));
  const double pairs = known * (known - 1), all = samples * (samples - 1);
  const double total = sum_of_distances(source, numbers, known, threads);
  if (!numbers.known.empty() && pairs > 0) numbers.neutral = total / pairs;
  if (reverts) numbers.fallback = source.alpha + (1 - source.alpha) * (total + (all - pairs) * numbers.neutral) / all;
  return numbers;
}

}  // namespace ecgloss
