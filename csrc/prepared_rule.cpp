#include "prepared_rule.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "packing.h"
#include "parallel.h"
#include "risk_sums.h"

namespace ecgloss {

// values [period][width], repeated to `count` rows, as [width][padded count].
template <class T>
const T* PreparedRule<T>::spread(const double* values, int64_t width, int64_t period, int64_t count) {
  const int64_t padded = panels_of(count) * kPanel;
  std::vector<T> rows(static_cast<size_t>(width * padded), T(0));
  for (int64_t c = 0; c < width; ++c) {
    T* out = rows.data() + c * padded;
    for (int64_t begin = 0; begin < count; begin += period) {
      const int64_t repeated = std::min(period, count - begin);
      for (int64_t b = 0; b < repeated; ++b) out[begin + b] = static_cast<T>(values[b * width + c]);
    }
  }
  vectors_.push_back(std::move(rows));
  return vectors_.back().data();
}

template <class T>
void PreparedRule<T>::add_risk(const Encoding& encoding, const RiskVectors& vectors, const RiskNumbers& numbers,
                               bool square, int64_t n, int64_t m) {
  const RuleCode& code = encoding.code;
  const double alpha = encoding.numbers.alpha;
  rule_.slope = static_cast<T>((1 - alpha) * numbers.scale);
  rule_.alpha = static_cast<T>(alpha);
  rule_.neutral = static_cast<T>((1 - alpha) * numbers.neutral + alpha);
  rule_.fallback = static_cast<T>(numbers.fallback);
  rule_.ceiling = static_cast<T>(1 - alpha);
  rule_.power = code.power;
  rule_.clip = encoding.numbers.fixed_scale != 0;
  rule_.plain = code.width == 1 && vectors.known.empty() && code.power == 2 && !rule_.clip;
  // Row i is sample i mod samples in a square problem; otherwise rows are the first n samples and columns the others.
  const auto add = [&](const double* values, int64_t width, const T*& rows, const T*& columns) {
    rows = spread(values, width, square ? code.samples : n, n);
    columns = square ? rows : spread(values + n * width, width, m, m);
  };
  add(vectors.risks.data(), code.width, rule_.row_values, rule_.column_values);
  if (!vectors.known.empty()) add(vectors.known.data(), 1, rule_.row_known, rule_.column_known);
  if (encoding.side.missing != nullptr) add(encoding.side.missing, 1, rule_.row_missing, rule_.column_missing);
  rule_.weighting = code.norm == Norm::softmax ? Weighting::exponential : Weighting::linear;
  if (code.norm == Norm::mean && alpha == 0 && numbers.all_equal != 0) rule_.weighting = Weighting::all_equal;
}

template <class T>
void PreparedRule<T>::add_labels(const Side& side, bool square, int64_t n, int64_t m) {
  if (side.row_labels == nullptr) return;
  std::vector<int64_t> distinct(side.row_labels, side.row_labels + n);
  std::sort(distinct.begin(), distinct.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  // The index of a 64-bit label among the distinct labels of the rows; -1 for a column's label that no row has.
  const auto index = [&](const int64_t* labels, int64_t count) {
    std::vector<int32_t> indices(static_cast<size_t>(panels_of(count) * kPanel), -1);
    for (int64_t i = 0; i < count; ++i) {
      const auto found = std::lower_bound(distinct.begin(), distinct.end(), labels[i]);
      const bool shared = found != distinct.end() && *found == labels[i];
      indices[static_cast<size_t>(i)] = shared ? static_cast<int32_t>(found - distinct.begin()) : -1;
    }
    labels_.push_back(std::move(indices));
    return labels_.back().data();
  };
  rule_.row_labels = index(side.row_labels, n);
  rule_.column_labels = square ? rule_.row_labels : index(side.column_labels, m);
}

template <class T>
PreparedRule<T>::PreparedRule(const Encoding& encoding, const RiskVectors& vectors, const RiskNumbers& numbers,
                              const Layout& layout, int64_t n, int64_t m, int threads) {
  const RuleCode& code = encoding.code;
  const Side& side = encoding.side;
  const bool square = layout.square;
  rule_.kind = code.kind;
  rule_.n_values = code.width;
  rule_.row_stride = panels_of(n) * kPanel;
  rule_.column_stride = panels_of(m) * kPanel;
  rule_.overlap = code.overlap;
  if (code.kind == Kind::risk) add_risk(encoding, vectors, numbers, square, n, m);
  if (code.kind == Kind::labels || code.kind == Kind::features) add_labels(side, square, n, m);
  if (code.kind == Kind::gaussian) {
    rule_.row_values = spread(side.values, code.width, n, n);
    rule_.column_values = square ? rule_.row_values : spread(side.column_values, code.width, m, m);
  }
  if (code.kind == Kind::features) {
    rule_.threshold = static_cast<T>(encoding.numbers.threshold);
    const auto panels = [&](const double* values, int64_t count) {
      const std::vector<T> rows(values, values + count * code.width);
      std::vector<T> packed(static_cast<size_t>(panels_of(count) * kPanel * code.width));
      pack<T>({rows.data(), count, nullptr}, count, code.width, packed.data(), nullptr, threads);
      vectors_.push_back(std::move(packed));
      return vectors_.back().data();
    };
    rule_.row_values = panels(side.values, n);
    rule_.column_values = square ? rule_.row_values : panels(side.column_values, m);
  }
}

template <class T>
std::vector<double> log_normalisers(const Problem<T>& problem, const Encoding& encoding, const Kernels<T>& kernels,
                                    int threads) {
  std::vector<double> logs(static_cast<size_t>(problem.n), 0.0);
  const Norm norm = encoding.code.norm;
  if (encoding.code.kind != Kind::risk || norm == Norm::none || problem.rule.weighting == Weighting::all_equal) {
    return logs;
  }
  const bool square = problem.layout.square, softmax = norm == Norm::softmax;
  const int64_t distinct = square ? encoding.code.samples : problem.n;
  const int64_t columns = square ? encoding.code.samples : problem.m;
  const double views = square ? static_cast<double>(problem.m / columns) : 1;  // columns per sample
  const double divisor = softmax ? 1 : static_cast<double>(problem.m - problem.layout.n_excluded);
  const auto set = [&](int64_t i, double total) {
    logs[static_cast<size_t>(i)] = std::log(std::max(views * total / divisor, std::numeric_limits<double>::min()));
  };
  // Columns with W = 0: the row's own sample and, of a mean, the excluded ones.
  const auto own_columns = [&](int64_t i) {
    std::array<int64_t, kMaxExcluded> own;
    own.fill(-1);
    if (square) own[0] = i;
    for (int t = 0; !square && !softmax && t < problem.layout.n_excluded; ++t) {
      own[static_cast<size_t>(t)] = (i + problem.layout.excluded[t]) % problem.m;
    }
    return own;
  };
  if (RiskSums::apply(problem.rule)) {
    const RiskSums sums(problem.rule, distinct, columns, softmax);
    for (int64_t i = 0; i < distinct; ++i) {
      const double risk = problem.rule.row_values[i];
      double total = sums.over_all(risk);
      for (const int64_t column : own_columns(i)) {
        if (column >= 0) total += (softmax ? 1 : 0) - sums.of_pair(risk, problem.rule.column_values[column]);
      }
      set(i, total);
    }
  } else {
    constexpr int64_t kRows = 16;
    for_each((distinct + kRows - 1) / kRows, threads, [&](int64_t block) {
      for (int64_t i = block * kRows; i < std::min(distinct, (block + 1) * kRows); ++i) {
        double total = 0;
        kernels.weight_sums(problem, i, columns, softmax, own_columns(i).data(), &total);
        set(i, total);
      }
    });
  }
  for (int64_t i = distinct; i < problem.n; ++i) logs[static_cast<size_t>(i)] = logs[static_cast<size_t>(i - distinct)];
  return logs;
}

template class PreparedRule<float>;
template class PreparedRule<double>;
template std::vector<double> log_normalisers(const Problem<float>&, const Encoding&, const Kernels<float>&, int);
template std::vector<double> log_normalisers(const Problem<double>&, const Encoding&, const Kernels<double>&, int);

}  // namespace ecgloss
