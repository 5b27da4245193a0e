// The storage format of row matrices: panels of kPanel rows, transposed.
//
// A matrix (n, width) is stored as [panels_of(n)][width][kPanel]: row i is in panel i / kPanel at place i % kPanel. The
// last panel is padded with zero rows. Vectors with one entry per row are padded to whole panels as well.
#pragma once

#include <cstdint>

namespace ecgloss {

constexpr int64_t kPanel = 48;  // a multiple of the height and of the width of every micro-kernel

static inline int64_t panels_of(int64_t n) { return (n + kPanel - 1) / kPanel; }

}  // namespace ecgloss
