// What is checked of an op's arguments before a kernel reads memory: sizes against each other, ranges of codes, and that
// nothing is written over what is read. The reading of Python objects has made sure of dtypes (arguments.h). Errors are
// std::invalid_argument, which is Python's ValueError.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "array.h"
#include "buffers.h"
#include "problem.h"
#include "rule_code.h"

namespace ecgloss {

// A rule and the loss, as an op has them.
struct RuleArguments {
  std::array<int64_t, RuleCode::kFields> code;
  std::array<double, RuleNumbers::kFields> numbers;
  std::vector<int64_t> layout;  // square, positive, excluded shifts
  int64_t alignment;
  std::array<double, 2> term_weights;
  double temperature;
  Array<double> values, column_values, missing;
  Array<int64_t> row_labels, column_labels;
};

// n, first, m and width, of a problem whose columns are its rows or not.
void check_sizes(const Sizes& sizes, bool square);

// Sizes of embeddings, once their shapes fit each other; k is given unless the problem is square.
template <class T>
Sizes sizes_of(const Array<T>& q, const Array<T>& q2, const Array<T>& k, bool square);

// Number of fields and their ranges, so far as they do not depend on sizes.
Layout layout_of(const std::vector<int64_t>& fields);

// Codes, numbers, layout and side information, of a problem of checked sizes.
void check_rule(const RuleArguments& rule, const Layout& layout, const Sizes& sizes);

// Shape of an array: (), (rows,) or (rows, width).
template <class T>
void check_shape(const Array<T>& array, std::vector<int64_t> shape);

void check_range(const char* name, int64_t value, int64_t low, int64_t high);
void check_range(const char* name, double value, double low, double high);

// The memory of an argument.
struct Span {
  const char* name;
  const void *begin, *end;

  template <class T>
  static Span of(const Array<T>& array) {
    return {array.name, array.data, array.data + array.size};
  }
};

// No array that is written shares memory with another.
void check_apart(const std::vector<Span>& written, const std::vector<Span>& read);

}  // namespace ecgloss
