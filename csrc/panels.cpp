#include "panels.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "parallel.h"
#include "problem.h"

namespace ecgloss {
namespace {

constexpr double kNormEpsilon = 1e-12;
constexpr int64_t kChains = 8;  // independent sums, which the compiler turns into vectors
constexpr int64_t kColumns = 16;  // of a panel at a time, so that 48 rows' pieces stay in the first cache

template <class T>
double norm_of(const T* row, int64_t width) {
  double sums[kChains] = {};
  int64_t d = 0;
  for (; d + kChains <= width; d += kChains) {
    for (int64_t c = 0; c < kChains; ++c) sums[c] += static_cast<double>(row[d + c]) * row[d + c];
  }
  for (; d < width; ++d) sums[0] += static_cast<double>(row[d]) * row[d];
  double total = 0;
  for (double part : sums) total += part;
  return std::sqrt(total);
}

template <class T>
void pack_panel(const Rows<const T>& rows, int64_t begin, int64_t count, int64_t width, T* panel, T* norms) {
  T divisors[kPanel];
  for (int64_t i = 0; i < count; ++i) {
    divisors[i] = 1;
    if (norms == nullptr) continue;
    norms[i] = static_cast<T>(norm_of(rows.at(begin + i, width), width));
    divisors[i] = norms[i] < static_cast<T>(kNormEpsilon) ? static_cast<T>(kNormEpsilon) : norms[i];  // NaN stays
  }
  for (int64_t d0 = 0; d0 < width; d0 += kColumns) {
    const int64_t end = std::min(width, d0 + kColumns);
    T unit[kPanel][kColumns] = {};
    for (int64_t i = 0; i < count; ++i) {
      const T* row = rows.at(begin + i, width);
      for (int64_t d = d0; d < end; ++d) unit[i][d - d0] = row[d] / divisors[i];
    }
    for (int64_t d = d0; d < end; ++d) {
      for (int64_t i = 0; i < kPanel; ++i) panel[d * kPanel + i] = unit[i][d - d0];
    }
  }
}

template <class T>
void unpack_panel(const T* gradient, const T* panel, const T* norms, int64_t begin, int64_t count, int64_t width,
                  double limit, const Rows<T>& out) {
  double inward[kPanel] = {};
  for (int64_t d = 0; d < width; ++d) {
    for (int64_t i = 0; i < kPanel; ++i) {
      inward[i] += static_cast<double>(panel[d * kPanel + i]) * gradient[d * kPanel + i];
    }
  }
  T along[kPanel] = {}, divisors[kPanel], bounds[kPanel] = {};
  std::fill(divisors, divisors + kPanel, T(1));
  for (int64_t i = 0; i < count; ++i) {
    const bool tiny = norms[i] < static_cast<T>(kNormEpsilon);
    along[i] = tiny ? T(0) : static_cast<T>(inward[i]);
    divisors[i] = tiny ? static_cast<T>(kNormEpsilon) : norms[i];
    bounds[i] = tiny ? static_cast<T>(limit) : static_cast<T>(INFINITY);
  }
  for (int64_t d0 = 0; d0 < width; d0 += kColumns) {
    const int64_t end = std::min(width, d0 + kColumns);
    T tangent[kColumns][kPanel];
    for (int64_t d = d0; d < end; ++d) {
      for (int64_t i = 0; i < kPanel; ++i) {
        const T g = (gradient[d * kPanel + i] - panel[d * kPanel + i] * along[i]) / divisors[i];
        tangent[d - d0][i] = g > bounds[i] ? bounds[i] : (g < -bounds[i] ? -bounds[i] : g);
      }
    }
    for (int64_t i = 0; i < count; ++i) {
      if ((begin + i < out.count ? out.first : out.second) == nullptr) continue;
      T* row = out.at(begin + i, width);
      for (int64_t d = d0; d < end; ++d) row[d] = tangent[d - d0][i];
    }
  }
}

}  // namespace

template <class T>
void pack(const Rows<const T>& rows, int64_t n, int64_t width, T* panels, T* norms, int threads) {
  for_each(panels_of(n), threads, [&](int64_t p) {
    const int64_t begin = p * kPanel;
    pack_panel(rows, begin, std::min(kPanel, n - begin), width, panels + begin * width,
               norms == nullptr ? nullptr : norms + begin);
  });
}

template <class T>
void unpack_gradient(const T* gradient, const T* panels, const T* norms, int64_t n, int64_t width, double limit, const Rows<T>& out,
                     int threads) {
  for_each(panels_of(n), threads, [&](int64_t p) {
    const int64_t begin = p * kPanel;
    unpack_panel(gradient + begin * width, panels + begin * width, norms + begin, begin, std::min(kPanel, n - begin),
                 width, limit, out);
  });
}

template <class T>
double mean_similarity(const T* panels, int64_t n, int64_t width) {
  const int64_t all = panels_of(n), step = std::max<int64_t>(1, all / 16);
  std::vector<double> sums(static_cast<size_t>(width), 0.0);
  int64_t rows = 0;
  for (int64_t p = 0; p < all; p += step) {
    rows += std::min(kPanel, n - p * kPanel);
    for (int64_t d = 0; d < width; ++d) {
      const T* values = panels + (p * width + d) * kPanel;
      T chains[kChains] = {};
      for (int64_t i = 0; i < kPanel; i += kChains) {
        for (int64_t c = 0; c < kChains; ++c) chains[c] += values[i + c];
      }
      for (T part : chains) sums[static_cast<size_t>(d)] += part;
    }
  }
  double square = 0;
  for (double s : sums) square += s * s;
  return square / (static_cast<double>(rows) * static_cast<double>(rows));
}

template void pack(const Rows<const float>&, int64_t, int64_t, float*, float*, int);
template void pack(const Rows<const double>&, int64_t, int64_t, double*, double*, int);
template void unpack_gradient(const float*, const float*, const float*, int64_t, int64_t, double, const Rows<float>&, int);
template void unpack_gradient(const double*, const double*, const double*, int64_t, int64_t, double, const Rows<double>&, int);
template double mean_similarity(const float*, int64_t, int64_t);
template double mean_similarity(const double*, int64_t, int64_t);

}  // namespace ecgloss
