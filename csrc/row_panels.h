// Rows to a panel of unit rows, and the gradient of a panel to the gradient of its rows.
#pragma once

#include "problem.h"
#include "vector.h"

namespace ecgloss {
namespace {

// Sums in double precision, whatever the type of the rows.
#if defined(__clang__) || __GNUC__ >= 9
typedef float NarrowVector __attribute__((vector_size(ECGLOSS_VECTOR_BYTES / 2)));
ECGLOSS_INLINE DoubleVector widen(const float* p) {
  NarrowVector v;
  __builtin_memcpy(&v, p, sizeof v);
  return __builtin_convertvector(v, DoubleVector);
}
#else
ECGLOSS_INLINE DoubleVector widen(const float* p) {
  DoubleVector v;
  for (int l = 0; l < kLanes<double>; ++l) v[l] = static_cast<double>(p[l]);
  return v;
}
#endif
ECGLOSS_INLINE DoubleVector widen(const double* p) { return load(p); }

template <class T>
double norm_of(const T* row, int64_t width) {
  constexpr int kWidth = kLanes<double>;
  DoubleVector even = {}, odd = {};
  int64_t d = 0;
  for (; d + 2 * kWidth <= width; d += 2 * kWidth) {
    const DoubleVector a = widen(row + d), b = widen(row + d + kWidth);
    even += a * a;
    odd += b * b;
  }
  double total = sum<double>(even + odd);
  for (; d < width; ++d) total += static_cast<double>(row[d]) * static_cast<double>(row[d]);
  return __builtin_sqrt(total);
}

// z / norm by its inverse and one correction step: rounded once where multiply and add are fused.
template <class V, class T>
ECGLOSS_INLINE V divide(V z, T norm, T inverse) {
  const V quotient = z * inverse;
  return quotient + (z - quotient * norm) * inverse;
}

// Unit rows as a panel. rows: kPanel addresses, null after the last row; norms [kPanel]: null for rows that are not
// to be normalised.
template <class T>
void pack_panel(const T* const* rows, int64_t width, T* panel, T* norms) {
  constexpr int kWidth = kLanes<T>;
  T divisors[kPanel], inverses[kPanel];
  for (int64_t i = 0; i < kPanel; ++i) {
    divisors[i] = inverses[i] = 1;
    if (norms == nullptr) continue;
    norms[i] = rows[i] == nullptr ? T(0) : static_cast<T>(norm_of(rows[i], width));
    if (rows[i] == nullptr) continue;
    const T epsilon = static_cast<T>(kNormEpsilon);
    divisors[i] = norms[i] < epsilon ? epsilon : norms[i];  // NaN for a NaN norm
    inverses[i] = T(1) / divisors[i];
  }
  for (int64_t first = 0; first < kPanel; first += kWidth) {
    int64_t d = 0;
    for (; d + kWidth <= width; d += kWidth) {
      Vector<T> square[kWidth];
      for (int r = 0; r < kWidth; ++r) {
        const T* row = rows[first + r];
        square[r] = row == nullptr ? Vector<T>{} : divide(load(row + d), divisors[first + r], inverses[first + r]);
      }
      exchange_all<T, 1>(square);
      for (int r = 0; r < kWidth; ++r) store(panel + (d + r) * kPanel + first, square[r]);
    }
    for (; d < width; ++d) {
      for (int64_t i = first; i < first + kWidth; ++i) {
        panel[d * kPanel + i] = rows[i] == nullptr ? T(0) : divide(rows[i][d], divisors[i], inverses[i]);
      }
    }
  }
}

// dL/dz = (g - z^ (z^ . g)) / max(|z|, 1e-12). Rows of norm below 1e-12 have no direction to project out; their
// gradient, 1e12 g, is cut at +-limit. out: kPanel addresses, null where no gradient is wanted.
template <class T>
void unpack_panel(const T* gradient, const T* panel, const T* norms, int64_t count, int64_t width, T limit,
                  T* const* out) {
  constexpr int kWidth = kLanes<T>, kWide = kLanes<double>;
  double inward[kPanel];
  for (int64_t i = 0; i < kPanel; i += kWide) {
    DoubleVector total = {};
    for (int64_t d = 0; d < width; ++d) total += widen(panel + d * kPanel + i) * widen(gradient + d * kPanel + i);
    store(inward + i, total);
  }
  T along[kPanel] = {}, factors[kPanel] = {}, bounds[kPanel] = {};
  for (int64_t i = 0; i < count; ++i) {
    const bool tiny = static_cast<double>(norms[i]) < kNormEpsilon;
    along[i] = tiny ? T(0) : static_cast<T>(inward[i]);
    factors[i] = static_cast<T>(1 / (tiny ? kNormEpsilon : static_cast<double>(norms[i])));
    bounds[i] = tiny ? limit : T(__builtin_inff());
  }
  const auto tangent = [&](int64_t d, int64_t first) {
    const Vector<T> g = (load(gradient + d * kPanel + first) - load(panel + d * kPanel + first) * load(along + first)) *
                        load(factors + first);
    const Vector<T> bound = load(bounds + first);
    const Vector<T> cut = g > bound ? bound : g;
    return cut < -bound ? -bound : cut;
  };
  for (int64_t first = 0; first < count; first += kWidth) {
    int64_t d = 0;
    for (; d + kWidth <= width; d += kWidth) {
      Vector<T> square[kWidth];
      for (int r = 0; r < kWidth; ++r) square[r] = tangent(d + r, first);
      exchange_all<T, 1>(square);
      for (int r = 0; r < kWidth; ++r) {
        if (out[first + r] != nullptr) store(out[first + r] + d, square[r]);
      }
    }
    for (; d < width; ++d) {
      const Vector<T> column = tangent(d, first);
      for (int r = 0; r < kWidth; ++r) {
        if (out[first + r] != nullptr) out[first + r][d] = column[r];
      }
    }
  }
}

}  // namespace
}  // namespace ecgloss
