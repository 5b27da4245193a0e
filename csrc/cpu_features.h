// Which vector instruction sets this processor and operating system can run.
#pragma once

#include <string>
#include <vector>

namespace ecgloss {

// Names as in the compilers' documentation ("avx2", "fma", "avx512f", "neon", ...), widest last.
std::vector<std::string> cpu_features();

}  // namespace ecgloss
