// Rows to panels of unit rows, and gradients of panels to gradients of rows.
#pragma once

#include <cstdint>

namespace ecgloss {

// Rows in one part or, as two views are passed, in two: row i is in first if i < count, else row i - count of second.
template <class T>
struct Rows {
  T* first;
  int64_t count;  // rows of the first part
  T* second;      // null: there is no second part
  T* at(int64_t i, int64_t width) const { return i < count ? first + i * width : second + (i - count) * width; }
};

// Unit rows z^ = z / max(|z|, 1e-12) as panels, and |z|.
//   rows [n][width], panels [panels_of(n)][width][kPanel], norms [padded n]; null: rows are not normalised
template <class T>
void pack(const Rows<const T>& rows, int64_t n, int64_t width, T* panels, T* norms, int threads);

// dL/dz from dL/dz^: (g - z^ (z^ . g)) / max(|z|, 1e-12). Rows of norm below 1e-12 have no direction to project out;
// their gradient, 1e12 g, is cut at +-limit, the largest number of the caller's type.
//   gradient, panels: panels; out [n][width], a null part is not wanted
template <class T>
void unpack_gradient(const T* gradient, const T* panels, const T* norms, int64_t n, int64_t width, double limit,
                     const Rows<T>& out, int threads);

// Dot product of the mean rows of q and k, each the mean over at most 8 panels.
template <class T>
double mean_similarity(const T* rows, int64_t n, const T* columns, int64_t m, int64_t width);

}  // namespace ecgloss
