// C[MR][48] += A B: everything that costs N^2 D goes through here.
//
// B is a panel, rows of 48. A element (r, t) is at a[r * a_row + t * a_step]: rows of a panel (1, 48) or rows of its
// transpose (48, 1). Budget: MR x ECGLOSS_STRIP_VECTORS accumulators, the vectors of one row of B and one broadcast stay
// in registers; per step MR broadcasts and ECGLOSS_STRIP_VECTORS loads feed MR * ECGLOSS_STRIP_VECTORS multiply-adds.
#pragma once

#include "vector.h"

namespace ecgloss {
namespace {

template <class T, int kRows>
ECGLOSS_INLINE void multiply_strip(const T* a, int64_t a_row, int64_t a_step, const T* b, int64_t steps, T* c,
                                   bool accumulate) {
  constexpr int kVectors = ECGLOSS_STRIP_VECTORS;
  constexpr int kWidth = kLanes<T>;
  Vector<T> total[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) total[r][v] = accumulate ? load(c + r * 48 + v * kWidth) : Vector<T>{};
  }
  for (int64_t t = 0; t < steps; ++t) {
    Vector<T> row[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) row[v] = load(b + t * 48 + v * kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const T x = a[r * a_row + t * a_step];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) total[r][v] += x * row[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) store(c + r * 48 + v * kWidth, total[r][v]);
  }
}

// kRows x 48 outputs, one strip of registers after another.
template <class T, int kRows>
__attribute__((noinline)) void multiply(const T* a, int64_t a_row, int64_t a_step, const T* b, int64_t steps, T* c,
                                        bool accumulate) {
  constexpr int kStrip = ECGLOSS_STRIP_VECTORS * kLanes<T>;
  static_assert(48 % kStrip == 0, "a panel is a whole number of strips");
  for (int strip = 0; strip < 48; strip += kStrip) {
    multiply_strip<T, kRows>(a, a_row, a_step, b + strip, steps, c + strip, accumulate);
  }
}

// Any number of rows.
template <class T>
ECGLOSS_INLINE void multiply_rows(int64_t rows, const T* a, int64_t a_row, int64_t a_step, const T* b, int64_t steps,
                                  T* c, bool accumulate) {
  constexpr int kRows = ECGLOSS_STRIP_ROWS;
  for (; rows >= kRows; rows -= kRows, a += kRows * a_row, c += kRows * 48) {
    multiply<T, kRows>(a, a_row, a_step, b, steps, c, accumulate);
  }
  for (; rows > 0; --rows, a += a_row, c += 48) multiply<T, 1>(a, a_row, a_step, b, steps, c, accumulate);
}

// Squares of `lanes` numbers: out[c][r] = in[r][c], both with rows of 48.
template <class T>
ECGLOSS_INLINE void transpose_panel(const T* in, T* out) {
  constexpr int kBlock = 16;
  for (int r0 = 0; r0 < 48; r0 += kBlock) {
    for (int c0 = 0; c0 < 48; c0 += kBlock) {
      for (int c = c0; c < c0 + kBlock; ++c) {
        for (int r = r0; r < r0 + kBlock; ++r) out[c * 48 + r] = in[r * 48 + c];
      }
    }
  }
}

}  // namespace
}  // namespace ecgloss
