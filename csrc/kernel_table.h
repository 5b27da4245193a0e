// The functions that are compiled once per instruction set, as tables.
//
// The files kernels_*.cpp include no header of the standard library but <cstdint>, and give everything internal
// linkage: of an inline function that several of them define, the linker may keep the one that other processors cannot
// run.
#pragma once

#include "task.h"

namespace ecgloss {

template <class T>
struct Kernels {
  int64_t lanes;
  void (*row_max_tile)(const ForwardTask<T>&);  // row_max of rows (and columns, where mirrored)
  void (*forward_tile)(const ForwardTask<T>&);
  void (*backward_tile)(const BackwardTask<T>&);
  void (*pack_panel)(const T* const* rows, int64_t width, T* panel, T* norms);
  void (*unpack_panel)(const T* gradient, const T* panel, const T* norms, int64_t count, int64_t width, T limit,
                       T* const* out);
  void (*weight_sums)(const Problem<T>&, int64_t row, int64_t columns, bool exponential, const int64_t* own,
                      double* sum);
};

struct InstructionSet {
  const char* name;
  const Kernels<float>* single;
  const Kernels<double>* wide;
  double (*multiply_adds)(int64_t rounds);  // runs fused multiply-adds from registers; returns their number
};

// One per kernels_*.cpp; null where the compiler could not build it.
const InstructionSet* generic_kernels();
const InstructionSet* avx2_kernels();
const InstructionSet* avx512_kernels();
const InstructionSet* neon_kernels();

}  // namespace ecgloss
