// What the kernels are told: plain structures of pointers and sizes, the same for every instruction set.
//
// Names follow the mathematics: q (n rows) meets k (m columns), S_ik = q_i . k_k, s = S / tau. Matrices live in
// *panels*: 48 rows of q or k at a time, transposed, so that panel p holds [d][48] and row i is at p = i / 48. The last
// panel is padded with zeros. Vectors about rows or columns are padded to whole panels as well.
#pragma once

#include <cstdint>

namespace ecgloss {

constexpr int64_t kPanel = 48;  // a multiple of every micro-kernel's height and width

constexpr double kNormEpsilon = 1e-12;  // z^ = z / max(|z|, 1e-12)

inline int64_t panels_of(int64_t n) { return (n + kPanel - 1) / kPanel; }

enum class Kind : int { uniform, risk, labels, features, gaussian };
enum class Weighting : int { none, linear, exponential };  // omega = 1, W or e^W
enum class Similarity : int { none, cosine, minmax };

constexpr int kMaxExcluded = 8;

// Which columns stand apart. Row i is no negative (and no dense positive) of column (i + excluded[t]) mod m; its single
// positive, if it has one, is column (i + positive) mod m.
struct Layout {
  bool square = false;  // k is q
  int n_excluded = 0;
  int64_t excluded[kMaxExcluded] = {};
  int64_t positive = -1;  // -1: none
};

// What relates row i to column k. Pointers a kind does not use are null. Arrays of rows are [C][padded n], of columns
// [C][padded m].
template <class T>
struct Rule {
  Kind kind = Kind::uniform;
  Weighting weighting = Weighting::none;
  int64_t n_values = 0;  // C: risks of a sample, metadata of a row; for features their number F
  const T* row_values = nullptr;
  const T* column_values = nullptr;
  int64_t row_stride = 0;     // padded n
  int64_t column_stride = 0;  // padded m
  // risk: W = M D, D = slope * sum |r_i - r_k|^q + alpha, or D = neutral where a risk is unknown
  const T* row_known = nullptr;  // 1 or 0; null: all known
  const T* column_known = nullptr;
  const T* row_missing = nullptr;  // f; null: M = 1
  const T* column_missing = nullptr;
  T slope = 0, alpha = 0, neutral = 0, fallback = 0;  // W = fallback + M (D - fallback)
  T ceiling = 0;                                      // of slope * distance, where the risk scale is fixed
  bool absolute = false;                              // q = 1
  bool clip = false;
  bool plain = false;  // one known risk, q = 2, no ceiling
  // labels, features
  const int32_t* row_labels = nullptr;
  const int32_t* column_labels = nullptr;
  T threshold = 0;
  bool overlap = false;  // features: a pair of one label below the threshold is negative as well as positive
};

// One rectangle of pairs: whole panels [row_panel, row_panel + row_panels) x [column_panel, ...).
struct Block {
  int64_t panel, panels;  // panels
  int64_t begin, count;   // valid rows or columns
};

template <class T>
struct Tile {
  Block rows, columns;
  bool mirrored;  // a tile off the diagonal of a square problem stands for its transpose as well
};

template <class T>
struct Problem {
  int64_t n = 0, m = 0, width = 0;
  const T* rows = nullptr;     // panels of q
  const T* columns = nullptr;  // panels of k
  Layout layout;
  Rule<T> rule;
  double tau = 1;
  Similarity similarity = Similarity::none;
  T reference = 0;     // about the mean of S: moments are sums of Y = S - reference
  bool shared = true;  // one exponential for both sides: the maximum of every row is taken to be 1
};

// Moments of a tile, each pair of a mirrored tile counted twice.
struct Moments {
  double y = 0, yy = 0, yw = 0, w = 0, ww = 0;
};

// Extremes of S, how many entries share them, and the first pair that has the lowest.
struct Extremes {
  double low, high;
  int64_t low_ties, high_ties;
  int64_t low_row, low_column;

  bool low_precedes(const Extremes& other) const {
    return low_row != other.low_row ? low_row < other.low_row : low_column < other.low_column;
  }
};

// Takes over what is more extreme; the order of merging does not matter.
inline void merge(Extremes& best, const Extremes& found) {
  if (found.low < best.low || (found.low == best.low && found.low_precedes(best))) {
    best.low_row = found.low_row, best.low_column = found.low_column;
  }
  best.low_ties = found.low < best.low ? found.low_ties : best.low_ties + (found.low == best.low ? found.low_ties : 0);
  best.high_ties =
      found.high > best.high ? found.high_ties : best.high_ties + (found.high == best.high ? found.high_ties : 0);
  best.low = found.low < best.low ? found.low : best.low;
  best.high = found.high > best.high ? found.high : best.high;
}

// What the forward gathers about rows (index 0) and columns (1); the same arrays where the problem is square.
template <class T>
struct RowSums {
  double* negative = nullptr;    // [n] sum of omega e^(s - offset)
  double* positive = nullptr;    // [n] sum of w e^(s - offset)
  double* similarity = nullptr;  // [n] sum of w S over positives
  double* count = nullptr;       // [n] sum of w
  T* negative_offset = nullptr;  // [padded n] largest S of the negatives; not looked at where it is shared
  T* positive_offset = nullptr;
};

// What the backward knows about rows or columns.
template <class T>
struct RowFactors {
  const T* negative = nullptr;  // [padded n] g e^(offset/tau - lse) / tau
  const T* positive = nullptr;
  const T* similarity = nullptr;       // g_sum / tau
  const T* negative_offset = nullptr;  // [padded n] tau * lse where the offset is not shared
  const T* positive_offset = nullptr;
};

// dL/dS = ... + scale * (slope * Y + W + shift) for the alignment term, doubled in a square problem.
template <class T>
struct AlignmentGradient {
  T scale = 0, slope = 0, shift = 0;
  T low = 0, high = 0;                    // extremes of S
  T low_gradient = 0, high_gradient = 0;  // per entry, shared evenly by ties
};

// Scratch of one thread.
template <class T>
struct Workspace {
  T* similarities;  // [panels of columns][rows][48]
  T* gradient;      // the same
  T* transposed;    // [panels of rows][columns][48]
  T* keep;          // 1 where the rule may look, 0 for excluded and padded pairs
  T* features;      // C_ik of the feature rule
  T* row_sums;      // [4][rows][lanes]
};

template <class T>
struct ForwardTask {
  const Problem<T>* problem;
  Tile<T> tile;
  Workspace<T> work;
  RowSums<T> row_sums, column_sums;
  Moments* moments;        // added to
  Extremes* extremes;      // of all tiles this thread has seen, merged
  double* block_extremes;  // [2][panels of q] low and high of every block of rows, merged
  int64_t block_count;     // panels of q
  int32_t row_block, column_block;
};

template <class T>
struct BackwardTask {
  const Problem<T>* problem;
  Tile<T> tile;
  Workspace<T> work;
  RowFactors<T> row_factors, column_factors;
  AlignmentGradient<T> alignment;
  bool has_extremes;           // this tile may hold the lowest or highest similarity
  const T* positive_gradient;  // [n] dL/dS of the single positives, null: none
  T* row_gradient;             // panels of dL/dq, added to
  T* column_gradient;          // panels of dL/dk, added to; null: not wanted
  double* temperature;         // sum of (dL/dS without alignment) (S - reference), added to; null: not wanted
};

// The functions that exist once per instruction set.
template <class T>
struct Kernels {
  int64_t lanes;
  void (*largest_tile)(const ForwardTask<T>&);  // offsets of rows (and columns, where mirrored)
  void (*forward_tile)(const ForwardTask<T>&);
  void (*backward_tile)(const BackwardTask<T>&);
  void (*pack_panel)(const T* const* rows, int64_t width, T* panel, T* norms);
  void (*unpack_panel)(const T* gradient, const T* panel, const T* norms, int64_t count, int64_t width, T limit,
                       T* const* out);
  void (*weight_sums)(const Problem<T>&, int64_t row, int64_t columns, bool exponential, const int64_t* own,
                      double* sum);
};

struct InstructionSet {
  const char* name;
  const Kernels<float>* single;
  const Kernels<double>* wide;
  double (*multiply_adds)(int64_t rounds);  // runs fused multiply-adds from registers; returns their number
};

// One per kernels_*.cpp; null where the compiler could not build it. Those files include no header of the standard
// library but <cstdint>: an inline function compiled there could be the one the linker keeps for every processor.
const InstructionSet* generic_kernels();
const InstructionSet* avx2_kernels();
const InstructionSet* avx512_kernels();
const InstructionSet* neon_kernels();

}  // namespace ecgloss
