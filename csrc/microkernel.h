// C (rows, kPanel) (+)= A B: all arithmetic that costs N^2 D.
//
// B is [steps][kPanel]. Element (r, t) of A is at a[r * row + t * step]; (row, step) is (1, kPanel) for the rows of a
// panel and (kPanel, 1) for its transpose.
//
// Register budget, with R = ECGLOSS_STRIP_ROWS and V = ECGLOSS_STRIP_VECTORS: R V accumulators, V vectors of a row of B
// and one broadcast element of A. A step loads V vectors and R elements for R V multiply-adds.
#pragma once

#include "vector.h"

namespace ecgloss {
namespace {

// Strides of A, and the inner dimension: panels of `steps`, the last one of `last`.
struct Inner {
  int64_t row, step;  // strides of A
  int64_t panels;
  int64_t steps, last;     // of all panels but the last, and of the last
  int64_t a_next, b_next;  // from one panel to the next
};

template <class T, int kRows>
ECGLOSS_INLINE void multiply_strip(const Inner& inner, const T* a, const T* b, T* c, bool accumulate) {
  constexpr int kVectors = ECGLOSS_STRIP_VECTORS;
  constexpr int kWidth = kLanes<T>;
  Vector<T> total[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) total[r][v] = Vector<T>{};
  }
  for (int64_t p = 0; p < inner.panels; ++p, a += inner.a_next, b += inner.b_next) {
    const int64_t steps = p + 1 < inner.panels ? inner.steps : inner.last;
    for (int64_t t = 0; t < steps; ++t) {
      Vector<T> row[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) row[v] = load(b + t * kPanel + v * kWidth);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const T x = a[r * inner.row + t * inner.step];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) total[r][v] += x * row[v];
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      T* const place = c + r * kPanel + v * kWidth;
      store(place, accumulate ? load(place) + total[r][v] : total[r][v]);
    }
  }
}

// kRows x kPanel outputs, one strip of registers after another.
template <class T, int kRows>
__attribute__((noinline)) void multiply(const Inner& inner, const T* a, const T* b, T* c, bool accumulate) {
  constexpr int kStrip = ECGLOSS_STRIP_VECTORS * kLanes<T>;
  static_assert(kPanel % kStrip == 0, "a panel is a whole number of strips");
  for (int64_t strip = 0; strip < kPanel; strip += kStrip) {
    multiply_strip<T, kRows>(inner, a, b + strip, c + strip, accumulate);
  }
}

// Any number of rows.
template <class T>
ECGLOSS_INLINE void multiply_rows(int64_t rows, const Inner& inner, const T* a, const T* b, T* c, bool accumulate) {
  constexpr int kRows = ECGLOSS_STRIP_ROWS;
  for (; rows >= kRows; rows -= kRows, a += kRows * inner.row, c += kRows * kPanel) {
    multiply<T, kRows>(inner, a, b, c, accumulate);
  }
  for (; rows > 0; --rows, a += inner.row, c += kPanel) multiply<T, 1>(inner, a, b, c, accumulate);
}

// out[c][r] = in[r][c], both kPanel x kPanel.
template <class T>
void transpose_panel(const T* in, T* out) {
  for (int64_t r = 0; r < kPanel; r += kLanes<T>) {
    for (int64_t c = 0; c < kPanel; c += kLanes<T>) {
      transpose(in + r * kPanel + c, kPanel, out + c * kPanel + r, kPanel);
    }
  }
}

}  // namespace
}  // namespace ecgloss
