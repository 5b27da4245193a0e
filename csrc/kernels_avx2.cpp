// The kernels compiled for AVX2 and FMA: 16 registers of 256 bits.
#include "kernel_table.h"

#if defined(__x86_64__) && defined(__GNUC__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#define ECGLOSS_VECTOR_BYTES 32
#define ECGLOSS_STRIP_VECTORS 3
#define ECGLOSS_STRIP_ROWS 4
#include "kernels.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif

namespace ecgloss {

const InstructionSet* avx2_kernels() {
  static constexpr InstructionSet set = {"avx2", &kSingle, &kWide, multiply_adds};
  return &set;
}

}  // namespace ecgloss

#else

namespace ecgloss {

const InstructionSet* avx2_kernels() { return nullptr; }

}  // namespace ecgloss

#endif
