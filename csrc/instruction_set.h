// The kernels for this processor, chosen at run time.
#pragma once

#include <string>
#include <vector>

#include "kernel_table.h"

namespace ecgloss {

// Every set that was compiled and that this processor runs, widest first.
const std::vector<const InstructionSet*>& usable_instruction_sets();

// The set in use: the widest, unless another was asked for.
const InstructionSet& instruction_set();

// Its kernels for a type.
template <class T>
const Kernels<T>& kernels();
template <>
const Kernels<float>& kernels<float>();
template <>
const Kernels<double>& kernels<double>();

// Use another of the usable sets, by name; std::invalid_argument names those there are.
void use_instruction_set(const std::string& name);

}  // namespace ecgloss
