// pair_stats over a whole problem: forward and backward.
#pragma once

#include <cstdint>

#include "side.h"

namespace ecgloss {

// What the forward leaves behind for the backward beside panels and norms. Sums about Y = S - reference.
struct Scalars {
  double cross_entropy = 0;  // mean over rows of log(e^positive + e^negative) - positive; 0 without single positives
  double squared_error = 0, reference = 0;
  double low = 0, high = 0, low_ties = 0,
         high_ties = 0;                  // extremes as the tiles see them, and entries that get gradient
  double range_low = 0, range_high = 0;  // what S is scaled with
  double y = 0, yy = 0, yw = 0, w = 0, ww = 0;
};
constexpr int64_t kScalars = sizeof(Scalars) / sizeof(double);

// Results per row; null pointers for what is not wanted. [n] each, n padded to panels is not needed.
template <class T>
struct RowStatistics {
  T* positive_sum;
  T* positive_lse;
  T* positive_count;
  T* negative_lse;
  double* saved;  // [4][n] for the backward: log sums of negatives and positives, log row factor, positives' count
  double* block_extremes;  // [2][panels of q] where the lowest and the highest similarity are to be looked for
};

// Gradients of the loss with respect to the row statistics; null where there is none.
template <class T>
struct RowGradients {
  const T* positive_sum;
  const T* positive_lse;
  const T* negative_lse;
  double cross_entropy;
  double squared_error;
};

// Fills statistics and scalars. problem.rows and .columns hold unit rows as panels.
template <class T>
void forward(Problem<T> problem, const RuleSource& source, int threads, const RowStatistics<T>& statistics,
             Scalars& scalars);

// Adds dL/dq^ and dL/dk^ to panels (k: null if not wanted or square); returns dL/dtau if wanted.
template <class T>
double backward(Problem<T> problem, const RuleSource& source, int threads, const double* saved,
                const double* block_extremes, const Scalars& scalars, const RowGradients<T>& gradients, T* row_gradient,
                T* column_gradient, bool wants_temperature);

}  // namespace ecgloss
