// pair_stats over a whole problem: forward and backward.
#pragma once

#include "buffers.h"
#include "problem.h"
#include "rule_code.h"

namespace ecgloss {

// Results per row, [n] each.
template <class T>
struct RowStatistics {
  T* positive_sum;
  T* positive_lse;
  T* positive_count;
  T* negative_lse;
};

// Gradients of the loss with respect to the row statistics [n], null for none, and with respect to L_w and L_d.
template <class T>
struct Gradients {
  const T* positive_sum;
  const T* positive_lse;
  const T* negative_lse;
  double contrastive;
  double alignment;
};

// Fills the statistics and all of `saved`. problem.rows and .columns are panels of unit rows.
template <class T>
void forward(Problem<T> problem, const Encoding& encoding, int threads, const RowStatistics<T>& statistics,
             const SavedBuffer& saved);

// Writes dL/dq^ and dL/dk^ as panels (k: null if not wanted or square). Returns dL/dtau, 0 if not wanted.
template <class T>
double backward(Problem<T> problem, const Encoding& encoding, int threads, const SavedBuffer& saved,
                const Gradients<T>& gradients, T* row_gradient, T* column_gradient, bool wants_temperature);

}  // namespace ecgloss
