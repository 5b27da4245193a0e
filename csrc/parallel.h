// Threads: OpenMP's where the compiler has it, the standard library's otherwise and in a forked child.
#pragma once

#include <cstdint>
#include <functional>

namespace ecgloss {

// Runs body(thread) for thread = 0 .. threads - 1, or for fewer threads; the result must not depend on their number.
void in_parallel(int threads, const std::function<void(int)>& body);

// Runs body(i) for i = 0 .. n - 1, in any order.
void for_each(int64_t n, int threads, const std::function<void(int64_t)>& body);

// "OpenMP" or "std::thread".
const char* threading();

}  // namespace ecgloss
