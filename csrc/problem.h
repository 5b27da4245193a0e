// The problem of a pass: q (n rows) meets k (m columns), S_ik = q_i . k_k, s = S / tau, and how S is cut into tiles.
#pragma once

#include <cstdint>

#include "panel.h"
#include "rule_data.h"

namespace ecgloss {

constexpr double kNormEpsilon = 1e-12;  // z^ = z / max(|z|, 1e-12)

enum class Alignment : int { none, cosine, minmax };  // S^ of L_d; as ALIGNMENTS in Python

constexpr int kMaxExcluded = 8;

// Row i is no negative (and no dense positive) of column (i + excluded[t]) mod m; its single positive, if the layout
// has one, is column (i + positive) mod m.
struct Layout {
  bool square = false;  // k is q
  int n_excluded = 0;
  int64_t excluded[kMaxExcluded] = {};
  int64_t positive = -1;  // -1: none
};

template <class T>
struct Problem {
  int64_t n = 0, m = 0, width = 0;
  const T* rows = nullptr;     // panels of q
  const T* columns = nullptr;  // panels of k
  Layout layout;
  Rule<T> rule;
  double tau = 1;
  Alignment alignment = Alignment::none;
  T origin = 0;               // about the mean of S: moments are sums of Y = S - origin
  bool fixed_maximum = true;  // 1/tau is the maximum of every row: one exponential per pair serves both of its rows
};

// Whole panels of rows or columns.
struct Block {
  int64_t panel, panels;  // the first, and their number
  int64_t begin, count;   // rows or columns without padding
};

// A rectangle of pairs.
template <class T>
struct Tile {
  Block rows, columns;
  bool mirrored;  // a tile off the diagonal of a square problem stands for its transpose as well
};

}  // namespace ecgloss
