// C (rows, kPanel) (+)= A B: all arithmetic that costs N^2 D.
//
// B is [steps][kPanel]. A is either rows of a panel, [steps][kPanel] as well (kAcross = false: element (r, t) at
// a[r + t kPanel]), or its transpose (kAcross = true: at a[r kPanel + t]).
//
// Register budget, with R = ECGLOSS_STRIP_ROWS and V = ECGLOSS_STRIP_VECTORS: R V accumulators, V vectors of a row of B
// and one broadcast element of A. A step loads V vectors and R elements for R V multiply-adds.
#pragma once

#include "prefetch.h"

namespace ecgloss {
namespace {

// The inner dimension: panels of `steps`, the last one of `last`.
struct Inner {
  int64_t panels;
  int64_t steps, last;
  int64_t a_next, b_next;  // from one panel to the next
};

template <class T, int kRows, bool kAcross>
ECGLOSS_INLINE void add_step(const T* a, const T* b, Vector<T> (&total)[kRows][ECGLOSS_STRIP_VECTORS]) {
  constexpr int kVectors = ECGLOSS_STRIP_VECTORS;
  Vector<T> row[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) row[v] = load(b + v * kLanes<T>);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    const T x = a[kAcross ? r * kPanel : r];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) total[r][v] += x * row[v];
  }
}

template <class T, int kRows, bool kAcross>
ECGLOSS_INLINE void multiply_strip(const Inner& inner, const T* a, const T* b, T* c, bool accumulate) {
  constexpr int kVectors = ECGLOSS_STRIP_VECTORS;
  constexpr int64_t kStep = kAcross ? 1 : kPanel;
  Vector<T> total[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) total[r][v] = Vector<T>{};
  }
  for (int64_t p = 0; p < inner.panels; ++p) {
    const T *at = a + p * inner.a_next, *bt = b + p * inner.b_next;
    int64_t steps = p + 1 < inner.panels ? inner.steps : inner.last;
    for (; steps > 0; --steps, at += kStep, bt += kPanel) add_step<T, kRows, kAcross>(at, bt, total);
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      T* const place = c + r * kPanel + v * kLanes<T>;
      store(place, accumulate ? load(place) + total[r][v] : total[r][v]);
    }
  }
}

// kRows x kPanel outputs, one strip of registers after another.
template <class T, int kRows, bool kAcross>
__attribute__((noinline)) void multiply(const Inner& inner, const T* a, const T* b, T* c, bool accumulate) {
  constexpr int kStrip = ECGLOSS_STRIP_VECTORS * kLanes<T>;
  static_assert(kPanel % kStrip == 0, "a panel is a whole number of strips");
  for (int64_t strip = 0; strip < kPanel; strip += kStrip) {
    multiply_strip<T, kRows, kAcross>(inner, a, b + strip, c + strip, accumulate);
  }
}

// Any number of rows.
template <class T, bool kAcross>
ECGLOSS_INLINE void multiply_rows(int64_t rows, const Inner& inner, const T* a, const T* b, T* c, bool accumulate,
                                  Prefetch& prefetch) {
  constexpr int kRows = ECGLOSS_STRIP_ROWS;
  constexpr int64_t kRow = kAcross ? kPanel : 1;
  for (; rows >= kRows; rows -= kRows, a += kRows * kRow, c += kRows * kPanel) {
    prefetch();
    multiply<T, kRows, kAcross>(inner, a, b, c, accumulate);
  }
  for (; rows > 0; --rows, a += kRow, c += kPanel) multiply<T, 1, kAcross>(inner, a, b, c, accumulate);
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
