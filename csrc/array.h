// A contiguous array of the caller: an argument of an op.
#pragma once

#include <cstdint>

namespace ecgloss {

template <class T>
struct Array {
  const char* name = "";  // of the argument, for errors
  bool given = false;     // false: None
  T* data = nullptr;
  int64_t dims = 0;
  int64_t rows = 0, width = 0;  // the first two extents, 1 where there are fewer
  int64_t size = 0;             // entries
};

}  // namespace ecgloss
