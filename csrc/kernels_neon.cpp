// The kernels compiled for NEON: 32 registers of 128 bits, part of every 64-bit ARM processor.
#include "kernel_table.h"

#if defined(__aarch64__) && defined(__GNUC__)

#define ECGLOSS_VECTOR_BYTES 16
#define ECGLOSS_STRIP_VECTORS 3
#define ECGLOSS_STRIP_ROWS 8
#include "kernels.h"

namespace ecgloss {

const InstructionSet* neon_kernels() {
  static constexpr InstructionSet set = {"neon", &kSingle, &kWide, multiply_adds};
  return &set;
}

}  // namespace ecgloss

#else

namespace ecgloss {

const InstructionSet* neon_kernels() { return nullptr; }

}  // namespace ecgloss

#endif
