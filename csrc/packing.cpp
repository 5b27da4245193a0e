#include "packing.h"

#include <algorithm>
#include <vector>

#include "instruction_set.h"
#include "panel.h"
#include "parallel.h"

namespace ecgloss {
namespace {

constexpr int64_t kSampled = 8;  // panels over which a mean row is taken, evenly spaced
constexpr int64_t kChains = 8;   // independent sums, which the compiler turns into vectors

}  // namespace

template <class T>
void pack(const Rows<const T>& rows, int64_t n, int64_t width, T* panels, T* norms, int threads) {
  const Kernels<T>& kernel = kernels<T>();
  for_each(panels_of(n), threads, [&](int64_t p) {
    const int64_t begin = p * kPanel;
    const T* addresses[kPanel] = {};
    for (int64_t i = begin; i < std::min(n, begin + kPanel); ++i) addresses[i - begin] = rows.at(i, width);
    kernel.pack_panel(addresses, width, panels + begin * width, norms == nullptr ? nullptr : norms + begin);
  });
}

template <class T>
void unpack_gradient(const T* gradient, const T* panels, const T* norms, int64_t n, int64_t width, double limit,
                     const Rows<T>& out, int threads) {
  const Kernels<T>& kernel = kernels<T>();
  for_each(panels_of(n), threads, [&](int64_t p) {
    const int64_t begin = p * kPanel, count = std::min(n - begin, kPanel);
    T* addresses[kPanel] = {};
    for (int64_t i = begin; i < begin + count; ++i) {
      if ((i < out.count ? out.first : out.second) != nullptr) addresses[i - begin] = out.at(i, width);
    }
    kernel.unpack_panel(gradient + begin * width, panels + begin * width, norms + begin, count, width,
                        static_cast<T>(limit), addresses);
  });
}

template <class T>
std::vector<double> mean_row(const T* panels, int64_t n, int64_t width) {
  const int64_t all = panels_of(n), step = std::max<int64_t>(1, (all + kSampled - 1) / kSampled);
  std::vector<double> means(static_cast<size_t>(width), 0.0);
  int64_t rows = 0;
  for (int64_t p = 0; p < all; p += step) {
    rows += std::min(kPanel, n - p * kPanel);
    for (int64_t d = 0; d < width; ++d) {
      const T* values = panels + (p * width + d) * kPanel;
      T chains[kChains] = {};
      for (int64_t i = 0; i < kPanel; i += kChains) {
        for (int64_t c = 0; c < kChains; ++c) chains[c] += values[i + c];
      }
      means[static_cast<size_t>(d)] +=
          ((chains[0] + chains[1]) + (chains[2] + chains[3])) + ((chains[4] + chains[5]) + (chains[6] + chains[7]));
    }
  }
  for (double& mean : means) mean /= static_cast<double>(rows);
  return means;
}

template <class T>
double mean_similarity(const T* rows, int64_t n, const T* columns, int64_t m, int64_t width) {
  const std::vector<double> q = mean_row(rows, n, width), k = rows == columns ? q : mean_row(columns, m, width);
  double product = 0;
  for (size_t d = 0; d < q.size(); ++d) product += q[d] * k[d];
  return product;
}

template void pack(const Rows<const float>&, int64_t, int64_t, float*, float*, int);
template void pack(const Rows<const double>&, int64_t, int64_t, double*, double*, int);
template void unpack_gradient(const float*, const float*, const float*, int64_t, int64_t, double, const Rows<float>&,
                              int);
template void unpack_gradient(const double*, const double*, const double*, int64_t, int64_t, double,
                              const Rows<double>&, int);
template double mean_similarity(const float*, int64_t, const float*, int64_t, int64_t);
template double mean_similarity(const double*, int64_t, const double*, int64_t, int64_t);

}  // namespace ecgloss
