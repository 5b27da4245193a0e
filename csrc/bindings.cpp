// The only file that knows Python: everything the extension offers, by name.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "cpu_features.h"

PYBIND11_MODULE(_C, module) {
  module.doc() = "C++ side of ecgloss";
  module.def("cpu_features", &ecgloss::cpu_features, "Vector instruction sets this machine can run.");
}
