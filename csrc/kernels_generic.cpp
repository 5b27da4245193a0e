// The kernels compiled for the baseline of the target: any processor, any compiler with vector extensions.
#include "kernel_table.h"

#if defined(__GNUC__) && !(defined(__aarch64__))

#define ECGLOSS_VECTOR_BYTES 16
#define ECGLOSS_STRIP_VECTORS 2
#define ECGLOSS_STRIP_ROWS 6
#include "kernels.h"

namespace ecgloss {

const InstructionSet* generic_kernels() {
  static constexpr InstructionSet set = {"generic", &kSingle, &kWide, multiply_adds};
  return &set;
}

}  // namespace ecgloss

#else

namespace ecgloss {

const InstructionSet* generic_kernels() { return nullptr; }

}  // namespace ecgloss

#endif
