// Vectors of the instruction set this file is compiled for. Only this file depends on the width of registers.
//
// Included by one source file per instruction set, after ECGLOSS_VECTOR_BYTES, ECGLOSS_STRIP_VECTORS and
// ECGLOSS_STRIP_ROWS are defined. Everything here has internal linkage: two instruction sets must never share a symbol.
#pragma once

#include <cstdint>

#include "panel.h"

#define ECGLOSS_INLINE inline __attribute__((always_inline))

namespace ecgloss {
namespace {

typedef float FloatVector __attribute__((vector_size(ECGLOSS_VECTOR_BYTES)));
typedef int32_t FloatMask __attribute__((vector_size(ECGLOSS_VECTOR_BYTES)));
typedef double DoubleVector __attribute__((vector_size(ECGLOSS_VECTOR_BYTES)));
typedef int64_t DoubleMask __attribute__((vector_size(ECGLOSS_VECTOR_BYTES)));

template <class T>
struct Lanes;

template <>
struct Lanes<float> {
  using Vector = FloatVector;
  using Mask = FloatMask;
  static constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, kept in the low bits
  static constexpr int kMantissa = 23;
  static constexpr float kLowest = -126.0f, kHighest = 100.0f;  // 2^x is a normal number, with room for factors above
};

template <>
struct Lanes<double> {
  using Vector = DoubleVector;
  using Mask = DoubleMask;
  static constexpr double kMagic = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr int kMantissa = 52;
  static constexpr double kLowest = -1022.0, kHighest = 1000.0;
};

template <class T>
using Vector = typename Lanes<T>::Vector;
template <class T>
using Mask = typename Lanes<T>::Mask;
template <class T>
constexpr int kLanes = ECGLOSS_VECTOR_BYTES / static_cast<int>(sizeof(T));
template <class T>
constexpr int kPanelVectors = static_cast<int>(kPanel) / kLanes<T>;

template <class T>
ECGLOSS_INLINE Vector<T> load(const T* p) {
  Vector<T> v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

template <class T>
ECGLOSS_INLINE void store(T* p, Vector<T> v) {
  __builtin_memcpy(p, &v, sizeof v);
}

template <class T>
ECGLOSS_INLINE Vector<T> broadcast(T x) {
  return x - Vector<T>{};
}

template <class T>
ECGLOSS_INLINE Vector<T> minimum(Vector<T> a, Vector<T> b) {
  return a < b ? a : b;
}

template <class T>
ECGLOSS_INLINE Vector<T> maximum(Vector<T> a, Vector<T> b) {
  return a > b ? a : b;
}

template <class T>
ECGLOSS_INLINE double sum(Vector<T> v) {
  double total = 0;
  for (int l = 0; l < kLanes<T>; ++l) total += static_cast<double>(v[l]);
  return total;
}

// 2^f on [-1/2, 1/2], minimax: relative error 2e-9 (float), 4e-20 (double) before rounding.
ECGLOSS_INLINE FloatVector exp2_fraction(FloatVector f) {
  FloatVector p = broadcast(0.00015345812161311629759f);
  p = p * f + 0.0013399931177239737967f;
  p = p * f + 0.0096184889563311816196f;
  p = p * f + 0.05550328777105324799f;
  p = p * f + 0.24022646890645520696f;
  p = p * f + 0.69314720573719575134f;
  return p * f + 1.0000000005541647956f;
}

ECGLOSS_INLINE DoubleVector exp2_fraction(DoubleVector f) {
  DoubleVector p = broadcast(2.5623409293273941048e-11);
  p = p * f + 4.456627704570345708e-10;
  p = p * f + 7.0549768723216026199e-9;
  p = p * f + 1.0178051520164580618e-7;
  p = p * f + 1.321548658446559568e-6;
  p = p * f + 0.000015252733855476380995;
  p = p * f + 0.00015403530393662152848;
  p = p * f + 0.0013333558146391245175;
  p = p * f + 0.0096181291076283081818;
  p = p * f + 0.055504108664821695016;
  p = p * f + 0.24022650695910071601;
  p = p * f + 0.6931471805599453084;
  return p * f + 1.0;
}

// 2^x for x below the largest exponent; for x below kLowest the smallest normal number; NaN for NaN.
template <class T>
ECGLOSS_INLINE Vector<T> exp2(Vector<T> x) {
  using L = Lanes<T>;
  x = x < broadcast(L::kLowest) ? broadcast(L::kLowest) : x;
  const Vector<T> shifted = x + L::kMagic;
  const Vector<T> p = exp2_fraction(x - (shifted - L::kMagic));
  return reinterpret_cast<Vector<T>>(reinterpret_cast<Mask<T>>(p) +
                                     (reinterpret_cast<Mask<T>>(shifted) << L::kMantissa));
}

// One stage of a transposition: exchanges the off-diagonal kStep x kStep blocks of rows a (above) and b (below).
template <class T, int kStep>
ECGLOSS_INLINE void exchange(Vector<T>& a, Vector<T>& b) {
#if defined(__clang__)
  Vector<T> above, below;
  for (int l = 0; l < kLanes<T>; ++l) {
    above[l] = (l & kStep) ? b[l - kStep] : a[l];
    below[l] = (l & kStep) ? b[l] : a[l + kStep];
  }
#else
  Mask<T> from_above, from_below;
  for (int l = 0; l < kLanes<T>; ++l) {
    from_above[l] = (l & kStep) ? kLanes<T> + l - kStep : l;
    from_below[l] = (l & kStep) ? kLanes<T> + l : l + kStep;
  }
  const Vector<T> above = __builtin_shuffle(a, b, from_above), below = __builtin_shuffle(a, b, from_below);
#endif
  a = above;
  b = below;
}

template <class T, int kStep>
ECGLOSS_INLINE void exchange_all(Vector<T>* rows) {
  if constexpr (kStep < kLanes<T>) {
#pragma GCC unroll 16
    for (int r = 0; r < kLanes<T>; ++r) {
      if ((r & kStep) == 0) exchange<T, kStep>(rows[r], rows[r + kStep]);
    }
    exchange_all<T, 2 * kStep>(rows);
  }
}

// out[c][r] = in[r][c] for a square of as many rows as a vector has lanes.
template <class T>
ECGLOSS_INLINE void transpose(const T* in, int64_t in_stride, T* out, int64_t out_stride) {
  Vector<T> rows[kLanes<T>];
#pragma GCC unroll 16
  for (int r = 0; r < kLanes<T>; ++r) rows[r] = load(in + r * in_stride);
  exchange_all<T, 1>(rows);
#pragma GCC unroll 16
  for (int r = 0; r < kLanes<T>; ++r) store(out + r * out_stride, rows[r]);
}

}  // namespace
}  // namespace ecgloss
