// Brings panels that will be read next into the L2 cache while multiply-adds run: they are some 100 kB per tile, which
// no hardware prefetcher foresees.
#pragma once

#include "vector.h"

namespace ecgloss {
namespace {

class Prefetch {
 public:
  // `calls`: how many times it will be called; it is done after that.
  explicit Prefetch(int64_t calls) : calls_(calls > 0 ? calls : 1) {}

  template <class T>
  void add(const T* begin, int64_t count) {
    Range& range = ranges_[used_++];
    range.at = reinterpret_cast<const char*>(begin);
    range.end = range.at + count * static_cast<int64_t>(sizeof(T));
    range.step = (count * static_cast<int64_t>(sizeof(T)) / calls_ + kLine) / kLine * kLine;
  }

  // One share of every range.
  ECGLOSS_INLINE void operator()() {
    for (int r = 0; r < used_; ++r) {
      Range& range = ranges_[r];
      const char* const stop = range.end - range.at < range.step ? range.end : range.at + range.step;
      for (; range.at < stop; range.at += kLine) __builtin_prefetch(range.at, 0, 2);
    }
  }

 private:
  static constexpr int64_t kLine = 64;
  struct Range {
    const char *at, *end;
    int64_t step;
  };
  Range ranges_[2];
  int used_ = 0;
  int64_t calls_;
};

}  // namespace
}  // namespace ecgloss
