// From Python objects to what the kernels take. Whatever comes, these return a sound value or throw an error that names
// the argument, what came and what is accepted: TypeError for the wrong kind of object, ValueError for the wrong number.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstdint>
#include <vector>

#include "array.h"

namespace ecgloss {

// A contiguous torch.Tensor on the CPU, whose dtype is T: float, double or int64_t. The object owns the memory.
template <class T>
Array<T> array_of(pybind11::handle object, const char* name);

// The same, or None.
template <class T>
Array<T> optional_array_of(pybind11::handle object, const char* name);

// Whether it is a tensor of doubles.
bool holds_doubles(pybind11::handle object);

int64_t integer_of(pybind11::handle object, const char* name);
double number_of(pybind11::handle object, const char* name);
bool flag_of(pybind11::handle object, const char* name);

// Of a list or tuple of any length.
std::vector<int64_t> integers_of(pybind11::handle object, const char* name);

// Of a list or tuple of this length.
template <size_t N>
std::array<int64_t, N> integers_of(pybind11::handle object, const char* name);
template <size_t N>
std::array<double, N> numbers_of(pybind11::handle object, const char* name);

}  // namespace ecgloss
