// Clinical risks of one batch, in double precision: what dissimilarity and reliability need beside the risks
// themselves.
//
//   Delta^_bc = min(scale sum_k |r_bk - r_ck|^q, 1 where the scale is fixed), neutral where a risk is unknown
//   D_bc = (1 - alpha) Delta^_bc + alpha      W_bc = fallback + exp(-f_b f_c) (D_bc - fallback)
#pragma once

#include <cstdint>
#include <vector>

namespace ecgloss {

struct RiskSource {
  int64_t samples = 0, n_values = 0;
  const double* risks = nullptr;    // [samples][n_values], NaN = unknown
  const double* missing = nullptr;  // [samples] f; null: metadata is complete
  double alpha = 0;
  double fixed_scale = 0;        // s of Delta / s; 0: scaled by the largest Delta of the batch
  bool absolute = false;         // q = 1 instead of 2
  bool unknown_is_zero = false;  // instead of the mean Delta^ of known pairs
  bool revert = false;           // unreliable pairs fall back to the mean D instead of 0
};

struct RiskNumbers {
  std::vector<double> risks;  // centred, 0 where unknown
  std::vector<double> known;  // 1 or 0; empty: all known
  double scale = 0, neutral = 0, fallback = 0;
  bool all_equal = false;
};

RiskNumbers summarise(const RiskSource& source, int threads);

}  // namespace ecgloss
