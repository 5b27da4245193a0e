#include "zero_phase.h"

#include <cstddef>

namespace ecgloss {
namespace {

// A recursive filter waits for its own last output. Several leads side by side fill that time, and vector registers.
constexpr int64_t kLeads = 4;
typedef double Lanes __attribute__((vector_size(kLeads * sizeof(double))));

Lanes all(double value) { return Lanes{} + value; }

// Filters `count` samples in place, from `first` in steps of `step` (1 or -1).
void pass(Lanes* first, int64_t count, int64_t step, const std::vector<Section>& sections) {
  struct Wide {
    Lanes b0, b1, b2, a1, a2, state0, state1;
  };
  std::vector<Wide> wide;
  for (const Section& s : sections) {
    wide.push_back({all(s.b0), all(s.b1), all(s.b2), all(s.a1), all(s.a2), all(s.state0) * first[0],
                    all(s.state1) * first[0]});
  }
  Wide* const begin = wide.data();
  Wide* const end = begin + wide.size();
  for (int64_t t = 0; t < count; ++t) {
    Lanes x = first[t * step];
    for (Wide* s = begin; s != end; ++s) {
      const Lanes y = s->b0 * x + s->state0;
      s->state0 = s->b1 * x - s->a1 * y + s->state1;
      s->state1 = s->b2 * x - s->a2 * y;
      x = y;
    }
    first[t * step] = x;
  }
}

}  // namespace

void zero_phase(double* signal, int64_t leads, int64_t samples, int64_t padding, const std::vector<Section>& sections) {
  const int64_t length = samples + 2 * padding;
  std::vector<Lanes> extended(static_cast<std::size_t>(length));
  for (int64_t first = 0; first < leads; first += kLeads) {
    const int64_t count = leads - first < kLeads ? leads - first : kLeads;
    for (int64_t lane = 0; lane < kLeads; ++lane) {
      const double* row = signal + (first + (lane < count ? lane : 0)) * samples;
      for (int64_t t = 0; t < padding; ++t) {
        extended[static_cast<std::size_t>(t)][lane] = 2 * row[0] - row[padding - t];
        extended[static_cast<std::size_t>(padding + samples + t)][lane] = 2 * row[samples - 1] - row[samples - 2 - t];
      }
      for (int64_t t = 0; t < samples; ++t) extended[static_cast<std::size_t>(padding + t)][lane] = row[t];
    }
    pass(extended.data(), length, 1, sections);
    pass(extended.data() + length - 1, length, -1, sections);
    for (int64_t lane = 0; lane < count; ++lane) {
      double* row = signal + (first + lane) * samples;
      for (int64_t t = 0; t < samples; ++t) row[t] = extended[static_cast<std::size_t>(padding + t)][lane];
    }
  }
}

}  // namespace ecgloss
