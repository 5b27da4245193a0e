#include "parallel.h"

#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace ecgloss {
namespace {

// A forked child has no OpenMP workers, but GNU's runtime waits for those of its parent.
bool is_forked_child = false;

#if defined(__unix__) || defined(__APPLE__)
[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, [] { is_forked_child = true; });
#endif

void with_own_threads(int threads, const std::function<void(int)>& body) {
  std::vector<std::thread> others;
  try {
    for (int t = 1; t < threads; ++t) others.emplace_back(body, t);
  } catch (const std::system_error&) {  // the system has no more threads: fewer do the work
  }
  body(0);
  for (std::thread& other : others) other.join();
}

}  // namespace

void in_parallel(int threads, const std::function<void(int)>& body) {
  if (threads <= 1) return body(0);
#ifdef _OPENMP
  if (!is_forked_child) {
#pragma omp parallel num_threads(threads)
    body(omp_get_thread_num());
    return;
  }
#endif
  with_own_threads(threads, body);
}

void for_each(int64_t n, int threads, const std::function<void(int64_t)>& body) {
  const int used = static_cast<int>(n < threads ? n : threads);
  if (used <= 1) {
    for (int64_t i = 0; i < n; ++i) body(i);
    return;
  }
  std::atomic<int64_t> next{0};
  in_parallel(used, [&](int) {
    for (int64_t i = next.fetch_add(1, std::memory_order_relaxed); i < n;
         i = next.fetch_add(1, std::memory_order_relaxed)) {
      body(i);
    }
  });
}

const char* threading() {
#ifdef _OPENMP
  return "OpenMP";
#else
  return "std::thread";
#endif
}

}  // namespace ecgloss
