// Clinical risks of one batch, in double precision.
//
//   Delta_bc  = sum_k |r_bk - r_ck|^power
//   Delta^_bc = scale Delta_bc, at most 1 with a fixed scale; neutral where a risk is unknown
//   D_bc      = (1 - alpha) Delta^_bc + alpha
//   W_bc      = fallback + exp(-f_b f_c) (D_bc - fallback)
#pragma once

#include <vector>

#include "rule_code.h"

namespace ecgloss {

struct RiskVectors {
  std::vector<double> risks;  // [samples][width], centred, 0 where unknown
  std::vector<double> known;  // [samples] 1 or 0; empty: all risks are known
};

// Numbers of the whole batch. The forward saves them in an fp64 tensor for the backward: every field is a double.
struct RiskNumbers {
  double scale = 0;
  double neutral = 0;    // mean Delta^ over the pairs of known risks
  double fallback = 0;   // mean D over pairs b != c; 0 unless unreliable pairs revert to it
  double all_equal = 0;  // 1 where max Delta = 0, else 0
};

// In O(samples). Empty for rules without risks.
RiskVectors centred_risks(const Encoding& rule);

// In O(samples) for one risk with power 2 and min-max scale; otherwise up to O(samples^2 width).
RiskNumbers resolve(const Encoding& rule, const RiskVectors& vectors, int threads);

}  // namespace ecgloss
