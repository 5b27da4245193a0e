#include "checks.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>

namespace ecgloss {
namespace {

constexpr int64_t kLargest = int64_t{1} << 30;  // of rows, columns and width: sizes of buffers stay below 2^63

[[noreturn]] void refuse(const std::string& name, const std::string& accepted, const std::string& got) {
  throw std::invalid_argument(name + " must " + accepted + "; got " + got);
}

std::string text(const std::vector<int64_t>& shape) {
  std::ostringstream out;
  out << "(";
  for (size_t d = 0; d < shape.size(); ++d) out << (d > 0 ? ", " : "") << shape[d] << (shape.size() == 1 ? "," : "");
  out << ")";
  return out.str();
}

template <class T>
std::string shape_of(const Array<T>& array) {
  if (!array.given) return "None";
  if (array.dims > 2) return std::to_string(array.dims) + " dimensions";
  std::vector<int64_t> shape = {array.rows, array.width};
  shape.resize(static_cast<size_t>(array.dims));
  return "shape " + text(shape);
}

template <class T>
bool has_shape(const Array<T>& array, int64_t rows, int64_t width) {
  return array.given && array.dims == 2 && array.rows == rows && array.width == width;
}

template <class T>
bool has_length(const Array<T>& array, int64_t rows) {
  return array.given && array.dims == 1 && array.rows == rows;
}

template <class T>
void check_matrix(const Array<T>& array, int64_t rows, int64_t width) {
  if (!has_shape(array, rows, width)) refuse(array.name, "have shape " + text({rows, width}), shape_of(array));
}

template <class T>
void check_vector(const Array<T>& array, int64_t rows) {
  if (!has_length(array, rows)) refuse(array.name, "have shape " + text({rows}), shape_of(array));
}

template <class T>
void check_none(const Array<T>& array, const char* reason) {
  if (array.given) refuse(array.name, std::string("be None: ") + reason, shape_of(array));
}

void check_flag(const char* name, int64_t value) { check_range(name, value, 0, 1); }

void check_layout(const Layout& layout, const Sizes& sizes, bool many_positives) {
  const int64_t *begin = layout.excluded, *end = begin + layout.n_excluded;
  for (const int64_t* shift = begin; shift != end; ++shift) {
    check_range("an excluded shift of layout", *shift, 0, sizes.m - 1);
    if (std::find(begin, shift, *shift) != shift) {
      refuse("excluded shifts of layout", "differ from each other", std::to_string(*shift) + " twice");
    }
  }
  if (layout.n_excluded > 0 && sizes.n > sizes.m) {
    refuse("a layout with excluded shifts", "have a column for every row",
           std::to_string(sizes.n) + " rows and " + std::to_string(sizes.m) + " columns");
  }
  if (layout.positive < 0) return;
  if (many_positives) {
    refuse("the positive of layout", "be -1 for rules that give positives themselves", std::to_string(layout.positive));
  }
  if (std::find(begin, end, layout.positive) == end) {
    refuse("the positive of layout", "be -1 or one of its excluded shifts", std::to_string(layout.positive));
  }
}

void check_code(const RuleCode& code, const std::array<int64_t, RuleCode::kFields>& fields) {
  check_range("code: norm", fields[1], 0, static_cast<int64_t>(Norm::softmax));
  check_range("code: power", fields[2], code.kind == Kind::risk ? 1 : 0, 2);
  check_flag("code: unknown_is_zero", fields[3]);
  check_flag("code: revert", fields[4]);
  check_flag("code: overlap", fields[5]);
  check_range("code: samples", code.samples, code.kind == Kind::risk ? 1 : 0, 2 * kLargest);
  const bool has_values = code.kind == Kind::risk || code.kind == Kind::features || code.kind == Kind::gaussian;
  check_range("code: width", code.width, has_values ? 1 : 0, kLargest);
}

void check_samples(int64_t samples, const Sizes& sizes, bool square) {
  if (square ? sizes.n % samples == 0 : samples == sizes.n + sizes.m) return;
  refuse("code: samples",
         square ? "divide the number of rows, " + std::to_string(sizes.n)
                : "be the number of rows and columns together, " + std::to_string(sizes.n + sizes.m),
         std::to_string(samples));
}

void check_side(const RuleArguments& rule, const RuleCode& code, const Sizes& sizes, bool square) {
  const Kind kind = code.kind;
  const bool by_row = kind == Kind::features || kind == Kind::gaussian;
  if (kind == Kind::risk) check_samples(code.samples, sizes, square);
  if (kind == Kind::risk || by_row) {
    check_matrix(rule.values, kind == Kind::risk ? code.samples : sizes.n, code.width);
  } else {
    check_none(rule.values, "this rule has no values");
  }
  if (by_row && !square) {
    check_matrix(rule.column_values, sizes.m, code.width);
  } else {
    check_none(rule.column_values, "columns of this problem have no values of their own");
  }
  if (kind != Kind::risk) check_none(rule.missing, "this rule has no risks");
  if (kind == Kind::risk && rule.missing.given) check_vector(rule.missing, code.samples);
  if (kind == Kind::labels || (kind == Kind::features && rule.row_labels.given)) {
    check_vector(rule.row_labels, sizes.n);
    if (!square) check_vector(rule.column_labels, sizes.m);
  } else {
    check_none(rule.row_labels, "this rule has no labels");
  }
  if (square || !rule.row_labels.given) {
    check_none(rule.column_labels, "columns of this problem have no labels of their own");
  }
}

bool overlap(const Span& a, const Span& b) {
  const std::less<const void*> before;
  return before(a.begin, b.end) && before(b.begin, a.end);
}

void check_pair(const Span& a, const Span& b) {
  if (overlap(a, b)) {
    throw std::invalid_argument(std::string(a.name) + " and " + b.name + " must not share memory: one is written");
  }
}

}  // namespace

void check_range(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return;
  refuse(name, "lie in [" + std::to_string(low) + ", " + std::to_string(high) + "]", std::to_string(value));
}

void check_range(const char* name, double value, double low, double high) {
  if (value >= low && value <= high) return;
  std::ostringstream accepted, got;
  accepted << "lie in [" << low << ", " << high << "]", got << value;
  refuse(name, accepted.str(), got.str());
}

void check_sizes(const Sizes& sizes, bool square) {
  check_range("the number of rows of q and q2", sizes.n, 1, kLargest);
  check_range("the number of rows of q", sizes.first, 0, sizes.n);
  check_range("the number of rows of k", sizes.m, 1, kLargest);
  check_range("the width of embeddings", sizes.width, 1, kLargest);
  if (square && sizes.m != sizes.n) {
    refuse("a square problem", "have as many columns as rows",
           std::to_string(sizes.n) + " rows and " + std::to_string(sizes.m) + " columns");
  }
}

template <class T>
Sizes sizes_of(const Array<T>& q, const Array<T>& q2, const Array<T>& k, bool square) {
  if (k.given == square) {
    refuse("k", square ? "be None, as the columns of a square layout are its rows" : "be given for this layout",
           shape_of(k));
  }
  if (q.dims != 2) refuse(q.name, "have shape (N, D)", shape_of(q));
  for (const Array<T>* other : {&q2, &k}) {
    if (other->given && (other->dims != 2 || other->width != q.width)) {
      refuse(other->name, "have shape (N, D) with the width of q, " + std::to_string(q.width), shape_of(*other));
    }
  }
  const int64_t n = q.rows + (q2.given ? q2.rows : 0);
  const Sizes sizes = {n, q.rows, square ? n : k.rows, q.width};
  check_sizes(sizes, square);
  return sizes;
}

Layout layout_of(const std::vector<int64_t>& fields) {
  if (fields.size() < 2 || fields.size() > 2 + kMaxExcluded) {
    refuse("layout", "have 2 to 10 fields (square, positive, up to 8 excluded shifts)", std::to_string(fields.size()));
  }
  check_flag("square of layout", fields[0]);
  check_range("the positive of layout", fields[1], -1, kLargest);
  Layout layout;
  layout.square = fields[0] != 0;
  layout.positive = fields[1];
  layout.n_excluded = static_cast<int>(fields.size()) - 2;
  std::copy(fields.begin() + 2, fields.end(), layout.excluded);
  return layout;
}

void check_rule(const RuleArguments& rule, const Layout& layout, const Sizes& sizes) {
  check_range("code: kind", rule.code[0], 0, static_cast<int64_t>(Kind::gaussian));
  const RuleCode code = RuleCode::of(rule.code.data());
  check_code(code, rule.code);
  const RuleNumbers numbers = RuleNumbers::of(rule.numbers.data());
  constexpr double kFinite = std::numeric_limits<double>::max();
  check_range("numbers: alpha", numbers.alpha, 0.0, 1.0);
  check_range("numbers: fixed_scale", numbers.fixed_scale, 0.0, kFinite);
  check_range("numbers: threshold", numbers.threshold, -kFinite, kFinite);
  for (double weight : rule.term_weights) check_range("term_weights", weight, -kFinite, kFinite);
  check_range("temperature", rule.temperature, std::numeric_limits<double>::denorm_min(), kFinite);
  check_layout(layout, sizes, code.kind == Kind::labels || code.kind == Kind::features || code.kind == Kind::gaussian);
  check_range("alignment", rule.alignment, 0, static_cast<int64_t>(Alignment::minmax));
  if (rule.alignment != 0 && !(code.kind == Kind::risk && layout.square)) {
    refuse("alignment", "be 0 unless the rule has risks and the layout is square", std::to_string(rule.alignment));
  }
  check_side(rule, code, sizes, layout.square);
}

template <class T>
void check_shape(const Array<T>& array, std::vector<int64_t> shape) {
  if (array.given && array.dims == static_cast<int64_t>(shape.size()) && (shape.empty() || array.rows == shape[0]) &&
      (shape.size() < 2 || array.width == shape[1])) {
    return;
  }
  refuse(array.name, "have shape " + text(shape), shape_of(array));
}

void check_apart(const std::vector<Span>& written, const std::vector<Span>& read) {
  for (size_t i = 0; i < written.size(); ++i) {
    for (size_t j = i + 1; j < written.size(); ++j) check_pair(written[i], written[j]);
    for (const Span& other : read) check_pair(written[i], other);
  }
}

template Sizes sizes_of(const Array<float>&, const Array<float>&, const Array<float>&, bool);
template Sizes sizes_of(const Array<double>&, const Array<double>&, const Array<double>&, bool);
template void check_shape(const Array<float>&, std::vector<int64_t>);
template void check_shape(const Array<double>&, std::vector<int64_t>);

}  // namespace ecgloss
