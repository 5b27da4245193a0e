// Zero-phase filtering of several leads at once, for preprocessing.
#pragma once

#include <cstdint>
#include <vector>

namespace ecgloss {

// One second-order section b0 + b1/z + b2/z^2 over 1 + a1/z + a2/z^2 in transposed direct form II, with the state it has
// after a long input of ones.
struct Section {
  double b0, b1, b2, a1, a2, state0, state1;
};

// Filters every lead forwards and backwards, in place: extended at both ends by `padding` samples, mirrored in the end
// point, and begun with the state of a constant input, as scipy.signal.sosfiltfilt does.
//
// signal: (leads, samples), row after row; 0 <= padding < samples.
void zero_phase(double* signal, int64_t leads, int64_t samples, int64_t padding, const std::vector<Section>& sections);

}  // namespace ecgloss
