#include "side.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "panels.h"
#include "parallel.h"

namespace ecgloss {

template <class T>
const T* Side<T>::spread(const double* values, int64_t n_values, int64_t first, int64_t period, int64_t count) {
  const int64_t padded = panels_of(count) * kPanel;
  std::vector<T> array(static_cast<size_t>(n_values * padded), T(0));
  for (int64_t i = 0; i < count; ++i) {
    const double* sample = values + (first + i % period) * n_values;
    for (int64_t c = 0; c < n_values; ++c) array[static_cast<size_t>(c * padded + i)] = static_cast<T>(sample[c]);
  }
  arrays_.push_back(std::move(array));
  return arrays_.back().data();
}

template <class T>
void Side<T>::add_risk(const RuleSource& source, bool square, int64_t n, int64_t m, int threads) {
  const RiskSource& risk = source.risk;
  const RiskNumbers numbers = summarise(risk, threads);
  const double alpha = risk.alpha;
  rule_.n_values = risk.n_values;
  rule_.slope = static_cast<T>((1 - alpha) * numbers.scale);
  rule_.alpha = static_cast<T>(alpha);
  rule_.neutral = static_cast<T>((1 - alpha) * numbers.neutral + alpha);
  rule_.fallback = static_cast<T>(numbers.fallback);
  rule_.ceiling = static_cast<T>(1 - alpha);
  rule_.absolute = risk.absolute;
  rule_.clip = risk.fixed_scale != 0;
  rule_.plain = risk.n_values == 1 && numbers.known.empty() && !risk.absolute && !rule_.clip;
  const auto sides = [&](const double* values, int64_t n_values, const T** rows, const T** columns) {
    *rows = spread(values, n_values, 0, square ? risk.samples : n, n);
    *columns = square ? *rows : spread(values, n_values, n, m, m);
  };
  sides(numbers.risks.data(), risk.n_values, &rule_.row_values, &rule_.column_values);
  if (!numbers.known.empty()) sides(numbers.known.data(), 1, &rule_.row_known, &rule_.column_known);
  if (risk.missing != nullptr) sides(risk.missing, 1, &rule_.row_missing, &rule_.column_missing);
  rule_.weighting = source.norm == Norm::softmax ? Weighting::exponential : Weighting::linear;
  // All risks equal and no floor: W / mean W is 0 / 0, whose limit is 1.
  if (source.norm == Norm::mean && alpha == 0 && numbers.all_equal) rule_.weighting = Weighting::none;
}

template <class T>
void Side<T>::add_labels(const RuleSource& source, bool square, int64_t n, int64_t m) {
  if (source.row_labels == nullptr) return;
  std::vector<int64_t> known(source.row_labels, source.row_labels + n);
  std::sort(known.begin(), known.end());
  known.erase(std::unique(known.begin(), known.end()), known.end());
  // 32-bit numbers for labels of any size; -1 for a column's label that no row has.
  const auto number = [&](const int64_t* labels, int64_t count) {
    std::vector<int32_t> numbers(static_cast<size_t>(panels_of(count) * kPanel), -1);
    for (int64_t i = 0; i < count; ++i) {
      const auto found = std::lower_bound(known.begin(), known.end(), labels[i]);
      const bool seen = found != known.end() && *found == labels[i];
      numbers[static_cast<size_t>(i)] = seen ? static_cast<int32_t>(found - known.begin()) : -1;
    }
    labels_.push_back(std::move(numbers));
    return labels_.back().data();
  };
  rule_.row_labels = number(source.row_labels, n);
  rule_.column_labels = square ? rule_.row_labels : number(source.column_labels, m);
}

template <class T>
Side<T>::Side(const RuleSource& source, const Layout& layout, int64_t n, int64_t m, int threads) {
  const bool square = layout.square;
  rule_.kind = source.kind;
  rule_.n_values = source.n_values;
  rule_.row_stride = panels_of(n) * kPanel;
  rule_.column_stride = panels_of(m) * kPanel;
  rule_.overlap = source.overlap;
  if (source.kind == Kind::risk) add_risk(source, square, n, m, threads);
  if (source.kind == Kind::labels || source.kind == Kind::features) add_labels(source, square, n, m);
  if (source.kind == Kind::gaussian) {
    rule_.row_values = spread(source.row_values, source.n_values, 0, n, n);
    rule_.column_values = square ? rule_.row_values : spread(source.column_values, source.n_values, 0, m, m);
  }
  if (source.kind == Kind::features) {
    rule_.threshold = static_cast<T>(source.threshold);
    const auto panels = [&](const double* values, int64_t count) {
      const std::vector<T> rows(values, values + count * source.n_values);
      std::vector<T> packed(static_cast<size_t>(panels_of(count) * kPanel * source.n_values));
      pack<T>({rows.data(), count, nullptr}, count, source.n_values, packed.data(), nullptr, threads);
      arrays_.push_back(std::move(packed));
      return arrays_.back().data();
    };
    rule_.row_values = panels(source.row_values, n);
    rule_.column_values = square ? rule_.row_values : panels(source.column_values, m);
  }
}

template <class T>
std::vector<double> row_offsets(const Problem<T>& problem, const RuleSource& source, const Kernels<T>& kernels,
                                int threads) {
  std::vector<double> offsets(static_cast<size_t>(problem.n), 0.0);
  if (source.kind != Kind::risk || source.norm == Norm::none || problem.rule.weighting == Weighting::none)
    return offsets;
  const bool square = problem.layout.square, softmax = source.norm == Norm::softmax;
  const int64_t distinct = square ? source.risk.samples : problem.n, columns = square ? source.risk.samples : problem.m;
  const double views = square ? static_cast<double>(problem.m / columns) : 1;  // columns of every sample
  const double pairs = softmax ? 1 : static_cast<double>(problem.m - problem.layout.n_excluded);
  constexpr int64_t kRows = 16;
  for_each((distinct + kRows - 1) / kRows, threads, [&](int64_t block) {
    for (int64_t i = block * kRows; i < std::min(distinct, (block + 1) * kRows); ++i) {
      int64_t own[kMaxExcluded];  // the same sample weighs 0, and an excluded column is not in the mean
      std::fill(own, own + kMaxExcluded, int64_t{-1});
      if (square) own[0] = i;
      for (int t = 0; !square && !softmax && t < problem.layout.n_excluded; ++t) {
        own[t] = (i + problem.layout.excluded[t]) % problem.m;
      }
      double total = 0;
      kernels.weight_sums(problem, i, columns, softmax, own, &total);
      offsets[static_cast<size_t>(i)] = -std::log(std::max(views * total / pairs, std::numeric_limits<double>::min()));
    }
  });
  for (int64_t i = distinct; i < problem.n; ++i)
    offsets[static_cast<size_t>(i)] = offsets[static_cast<size_t>(i % distinct)];
  return offsets;
}

template class Side<float>;
template class Side<double>;
template std::vector<double> row_offsets(const Problem<float>&, const RuleSource&, const Kernels<float>&, int);
template std::vector<double> row_offsets(const Problem<double>&, const RuleSource&, const Kernels<double>&, int);

}  // namespace ecgloss
