// The Python module ecgloss._C, and the only file that depends on Python. Tensors are passed as addresses of contiguous
// memory; shapes and dtypes are checked by the caller (ecgloss/engine/cpp.py).
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include "buffers.h"
#include "cpu_features.h"
#include "engine.h"
#include "instruction_set.h"
#include "packing.h"
#include "parallel.h"
#include "rule_code.h"
#include "zero_phase.h"

namespace py = pybind11;

namespace ecgloss {
namespace {

using Address = uintptr_t;  // of a tensor's memory; 0: no tensor

template <class T>
T* pointer(Address address) {
  return reinterpret_cast<T*>(address);
}

using SizeFields = std::array<int64_t, 4>;  // n, first, m, width
using CodeFields = std::array<int64_t, RuleCode::kFields>;
using NumberFields = std::array<double, RuleNumbers::kFields>;
using SideFields = std::array<Address, Side::kFields>;

Sizes sizes_of(const SizeFields& fields) { return {fields[0], fields[1], fields[2], fields[3]}; }

Encoding encoding_of(const CodeFields& code, const NumberFields& numbers, const SideFields& side) {
  return {RuleCode::of(code.data()), RuleNumbers::of(numbers.data()), Side::of(side.data())};
}

// fields: square, positive, excluded shifts.
Layout layout_of(const std::vector<int64_t>& fields) {
  if (fields.size() < 2 || fields.size() > 2 + kMaxExcluded) {
    throw std::invalid_argument("layout must have 2 to 10 fields (square, positive, up to 8 excluded shifts); got " +
                                std::to_string(fields.size()));
  }
  Layout layout;
  layout.square = fields[0] != 0;
  layout.positive = fields[1];
  layout.n_excluded = static_cast<int>(fields.size()) - 2;
  for (int t = 0; t < layout.n_excluded; ++t) layout.excluded[t] = fields[static_cast<size_t>(t) + 2];
  return layout;
}

template <class T>
Problem<T> problem_of(const Sizes& sizes, const PackedBuffer<T>& packed, const Layout& layout, double tau,
                      int alignment) {
  Problem<T> problem;
  problem.n = sizes.n;
  problem.m = sizes.m;
  problem.width = sizes.width;
  problem.rows = packed.q;
  problem.columns = packed.k;
  problem.layout = layout;
  problem.tau = tau;
  problem.alignment = static_cast<Alignment>(alignment);
  return problem;
}

// The forward op.
//   embeddings: q, q2, k, each [rows][width]
//   outputs: loss, L_w, L_d [1]; row statistics [4][n]; the two buffers of buffers.h
//   threads: at most this many
template <class T>
void run_forward(const std::array<Address, 3>& embeddings, const SideFields& side,
                 const std::array<Address, 6>& outputs, const SizeFields& size_fields, const CodeFields& code,
                 const NumberFields& numbers, const std::vector<int64_t>& layout_fields, double tau, int alignment,
                 const std::array<double, 2>& term_weights, int threads) {
  const Encoding encoding = encoding_of(code, numbers, side);
  const Layout layout = layout_of(layout_fields);
  const Sizes sizes = sizes_of(size_fields);
  const auto [q, q2, k] = embeddings;
  const auto [loss, contrastive, aligned, rows, packed_start, saved_start] = outputs;
  const auto packed = PackedBuffer<T>::at(pointer<T>(packed_start), sizes, layout.square);
  const SavedBuffer saved = SavedBuffer::at(pointer<double>(saved_start), sizes.n);
  T* const row = pointer<T>(rows);
  const RowStatistics<T> statistics{row, row + sizes.n, row + 2 * sizes.n, row + 3 * sizes.n};

  py::gil_scoped_release unlocked;
  pack<T>({pointer<const T>(q), sizes.first, pointer<const T>(q2)}, sizes.n, sizes.width, packed.q, packed.q_norms,
          threads);
  if (!layout.square) {
    pack<T>({pointer<const T>(k), sizes.m, nullptr}, sizes.m, sizes.width, packed.k, packed.k_norms, threads);
  }
  forward<T>(problem_of(sizes, packed, layout, tau, alignment), encoding, threads, statistics, saved);
  const Scalars& scalars = *saved.scalars;
  *pointer<T>(loss) = static_cast<T>(term_weights[0] * scalars.contrastive + term_weights[1] * scalars.alignment);
  *pointer<T>(contrastive) = static_cast<T>(scalars.contrastive);
  *pointer<T>(aligned) = static_cast<T>(scalars.alignment);
}

// The backward op; returns dL/dtau.
//   g_rows: dL/d(row statistics) [4][n]; g_contrastive, g_alignment: dL/dL_w, dL/dL_d
//   buffers: packed and saved, as the forward left them
//   unit_gradients: dL/dq^ and dL/dk^ as panels, written
//   outputs: dL/dq, dL/dq2, dL/dk
//   limits: largest finite numbers of the dtypes of q and k
template <class T>
double run_backward(Address g_rows, double g_contrastive, double g_alignment, const std::array<Address, 2>& buffers,
                    const SideFields& side, const std::array<Address, 2>& unit_gradients,
                    const std::array<Address, 3>& outputs, const SizeFields& size_fields, const CodeFields& code,
                    const NumberFields& numbers, const std::vector<int64_t>& layout_fields, double tau, int alignment,
                    int threads, bool wants_temperature, const std::array<double, 2>& limits) {
  const Encoding encoding = encoding_of(code, numbers, side);
  const Layout layout = layout_of(layout_fields);
  const Sizes sizes = sizes_of(size_fields);
  const auto [packed_start, saved_start] = buffers;
  const auto packed = PackedBuffer<T>::at(pointer<T>(packed_start), sizes, layout.square);
  const SavedBuffer saved = SavedBuffer::at(pointer<double>(saved_start), sizes.n);
  const T* const g = pointer<const T>(g_rows);
  const Gradients<T> gradients{g, g == nullptr ? g : g + sizes.n, g == nullptr ? g : g + 3 * sizes.n, g_contrastive,
                               g_alignment};
  T *const q_gradient = pointer<T>(unit_gradients[0]), *const k_gradient = pointer<T>(unit_gradients[1]);
  const auto [dq, dq2, dk] = outputs;

  py::gil_scoped_release unlocked;
  const double temperature = backward<T>(problem_of(sizes, packed, layout, tau, alignment), encoding, threads, saved,
                                         gradients, q_gradient, k_gradient, wants_temperature);
  unpack_gradient<T>(q_gradient, packed.q, packed.q_norms, sizes.n, sizes.width, limits[0],
                     {pointer<T>(dq), sizes.first, pointer<T>(dq2)}, threads);
  if (dk != 0) {
    unpack_gradient<T>(k_gradient, packed.k, packed.k_norms, sizes.m, sizes.width, limits[1],
                       {pointer<T>(dk), sizes.m, nullptr}, threads);
  }
  return temperature;
}

// The rate of fused multiply-adds from registers on all threads, measured for some seconds, in flop/s: the upper bound
// for the kernels.
double fma_rate(int threads, double seconds) {
  py::gil_scoped_release unlocked;
  using Clock = std::chrono::steady_clock;
  std::vector<double> rates(static_cast<size_t>(threads), 0.0);
  in_parallel(threads, [&](int thread) {
    double done = 0, elapsed = 0;
    const auto begin = Clock::now();
    while (elapsed < seconds) {
      done += instruction_set().multiply_adds(100000);
      elapsed = std::chrono::duration<double>(Clock::now() - begin).count();
    }
    rates[static_cast<size_t>(thread)] = 2 * done / elapsed;
  });
  double total = 0;
  for (double rate : rates) total += rate;
  return total;
}

using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;

// A filtered copy of (leads, samples); sections are rows of b0, b1, b2, 1, a1, a2, states rows of two.
Doubles filtered(const Doubles& signal, const Doubles& sections, const Doubles& states, int64_t padding) {
  if (signal.ndim() != 2 || sections.ndim() != 2 || sections.shape(1) != 6 || states.ndim() != 2 ||
      states.shape(0) != sections.shape(0) || states.shape(1) != 2) {
    throw std::invalid_argument("zero_phase takes (leads, samples), (sections, 6) and (sections, 2)");
  }
  if (padding < 0 || padding >= signal.shape(1)) {
    throw std::invalid_argument("padding must be at least 0 and less than the number of samples; got " +
                                std::to_string(padding));
  }
  std::vector<Section> all;
  for (py::ssize_t k = 0; k < sections.shape(0); ++k) {
    const double *s = sections.data(k, 0), *z = states.data(k, 0);
    all.push_back({s[0], s[1], s[2], s[4], s[5], z[0], z[1]});
  }
  Doubles out({signal.shape(0), signal.shape(1)});
  std::copy(signal.data(), signal.data() + signal.size(), out.mutable_data());
  double* samples = out.mutable_data();
  const int64_t leads = signal.shape(0), length = signal.shape(1);
  py::gil_scoped_release release;
  zero_phase(samples, leads, length, padding, all);
  return out;
}

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const InstructionSet* set : usable_instruction_sets()) names.emplace_back(set->name);
  return names;
}

}  // namespace
}  // namespace ecgloss

PYBIND11_MODULE(_C, module) {
  using namespace ecgloss;
  module.doc() = "C++ side of ecgloss";
  module.def("cpu_features", &cpu_features, "Vector instruction sets this machine can run.");
  module.def("instruction_sets", &instruction_sets, "Instruction sets with kernels that run here, widest first.");
  module.def(
      "instruction_set", [] { return std::string(instruction_set().name); }, "The instruction set in use.");
  module.def("use_instruction_set", &use_instruction_set, "Use another of instruction_sets().");
  module.def(
      "threading", [] { return std::string(threading()); }, "Where threads come from.");
  module.def("fma_rate", &fma_rate, py::arg("threads"), py::arg("seconds"), "Multiply-adds from registers, flop/s.");
  module.def(
      "buffer_sizes",
      [](const SizeFields& fields, bool square) {
        const Sizes sizes = sizes_of(fields);
        return std::pair(PackedBuffer<float>::size(sizes, square), SavedBuffer::size(sizes.n));
      },
      py::arg("sizes"), py::arg("square"), "Entries of the buffers packed and saved, for n, first, m and width.");
  module.def("zero_phase", &filtered, py::arg("signal"), py::arg("sections"), py::arg("states"), py::arg("padding"),
             "Filter leads forwards and backwards, as scipy.signal.sosfiltfilt does.");
  module.def("forward_single", &run_forward<float>);
  module.def("forward_double", &run_forward<double>);
  module.def("backward_single", &run_backward<float>);
  module.def("backward_double", &run_backward<double>);
}
