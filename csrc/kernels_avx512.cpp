// The kernels compiled for AVX-512: 32 registers of 512 bits.
#include "kernel_table.h"

#if defined(__x86_64__) && (defined(__clang__) || __GNUC__ >= 9)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")
#endif

#define ECGLOSS_VECTOR_BYTES 64
#define ECGLOSS_STRIP_VECTORS 3
#define ECGLOSS_STRIP_ROWS 8
#include "kernels.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif

namespace ecgloss {

const InstructionSet* avx512_kernels() {
  static constexpr InstructionSet set = {"avx512", &kSingle, &kWide, multiply_adds};
  return &set;
}

}  // namespace ecgloss

#else

namespace ecgloss {

const InstructionSet* avx512_kernels() { return nullptr; }

}  // namespace ecgloss

#endif
