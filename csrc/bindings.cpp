// The Python module ecgloss._C. Arguments are read in arguments.h and checked in checks.h: whatever Python passes, a
// kernel is called with sound memory, or an error names the argument.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "arguments.h"
#include "buffers.h"
#include "checks.h"
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

constexpr int64_t kMostThreads = 4096;

// Rule and loss as every pass takes them.
struct PyRule {
  py::handle values, column_values, missing, row_labels, column_labels, code, numbers, layout, temperature, alignment;
};

RuleArguments read(const PyRule& rule, const std::array<double, 2>& term_weights) {
  return {integers_of<RuleCode::kFields>(rule.code, "code"),
          numbers_of<RuleNumbers::kFields>(rule.numbers, "numbers"),
          integers_of(rule.layout, "layout"),
          integer_of(rule.alignment, "alignment"),
          term_weights,
          number_of(rule.temperature, "temperature"),
          optional_array_of<double>(rule.values, "values"),
          optional_array_of<double>(rule.column_values, "column_values"),
          optional_array_of<double>(rule.missing, "missing"),
          optional_array_of<int64_t>(rule.row_labels, "row_labels"),
          optional_array_of<int64_t>(rule.column_labels, "column_labels")};
}

Encoding encoding_of(const RuleArguments& rule) {
  return {RuleCode::of(rule.code.data()),
          RuleNumbers::of(rule.numbers.data()),
          {rule.values.data, rule.column_values.data, rule.missing.data, rule.row_labels.data,
           rule.column_labels.data}};
}

std::vector<Span> side_of(const RuleArguments& rule) {
  return {Span::of(rule.values), Span::of(rule.column_values), Span::of(rule.missing), Span::of(rule.row_labels),
          Span::of(rule.column_labels)};
}

int threads_of(py::handle threads) {
  const int64_t number = integer_of(threads, "threads");
  check_range("threads", number, 1, kMostThreads);
  return static_cast<int>(number);
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
//   q, q2, k: embeddings, [rows][width]
//   loss, contrastive, aligned: scalars, written; rows: row statistics [4][n]; packed, saved: the buffers of buffers.h
//   threads: at most this many
template <class T>
void run_forward(py::handle q_, py::handle q2_, py::handle k_, py::handle values, py::handle column_values,
                 py::handle missing, py::handle row_labels, py::handle column_labels, py::handle loss_,
                 py::handle contrastive_, py::handle aligned_, py::handle rows_, py::handle packed_, py::handle saved_,
                 py::handle code, py::handle numbers, py::handle layout_, py::handle temperature, py::handle alignment,
                 py::handle term_weights, py::handle threads_) {
  const RuleArguments rule = read(
      {values, column_values, missing, row_labels, column_labels, code, numbers, layout_, temperature, alignment},
      numbers_of<2>(term_weights, "term_weights"));
  const auto q = array_of<T>(q_, "q"), q2 = optional_array_of<T>(q2_, "q2"), k = optional_array_of<T>(k_, "k");
  const Layout layout = layout_of(rule.layout);
  const Sizes sizes = sizes_of<T>(q, q2, k, layout.square);
  check_rule(rule, layout, sizes);
  const auto loss = array_of<T>(loss_, "loss"), contrastive = array_of<T>(contrastive_, "contrastive"),
             aligned = array_of<T>(aligned_, "aligned"), rows = array_of<T>(rows_, "rows"),
             packed_buffer = array_of<T>(packed_, "packed");
  const auto saved_buffer = array_of<double>(saved_, "saved");
  check_shape(loss, {});
  check_shape(contrastive, {});
  check_shape(aligned, {});
  check_shape(rows, {4, sizes.n});
  check_shape(packed_buffer, {PackedBuffer<T>::size(sizes, layout.square)});
  check_shape(saved_buffer, {SavedBuffer::size(sizes.n)});
  std::vector<Span> given = side_of(rule);
  given.insert(given.end(), {Span::of(q), Span::of(q2), Span::of(k)});
  check_apart({Span::of(loss), Span::of(contrastive), Span::of(aligned), Span::of(rows), Span::of(packed_buffer),
               Span::of(saved_buffer)},
              given);
  const int threads = threads_of(threads_);
  const Encoding encoding = encoding_of(rule);
  const auto packed = PackedBuffer<T>::at(packed_buffer.data, sizes, layout.square);
  const SavedBuffer saved = SavedBuffer::at(saved_buffer.data, sizes.n);
  T* const row = rows.data;
  const RowStatistics<T> statistics{row, row + sizes.n, row + 2 * sizes.n, row + 3 * sizes.n};

  py::gil_scoped_release unlocked;
  pack<T>({q.data, sizes.first, q2.data}, sizes.n, sizes.width, packed.q, packed.q_norms, threads);
  if (!layout.square) {
    pack<T>({k.data, sizes.m, nullptr}, sizes.m, sizes.width, packed.k, packed.k_norms, threads);
  }
  forward<T>(problem_of(sizes, packed, layout, rule.temperature, static_cast<int>(rule.alignment)), encoding, threads,
             statistics, saved);
  const Scalars& scalars = *saved.scalars;
  *loss.data = static_cast<T>(rule.term_weights[0] * scalars.contrastive + rule.term_weights[1] * scalars.alignment);
  *contrastive.data = static_cast<T>(scalars.contrastive);
  *aligned.data = static_cast<T>(scalars.alignment);
}

// The backward op; returns dL/dtau.
//   g_rows: dL/d(row statistics) [4][n]; g_contrastive, g_alignment: dL/dL_w, dL/dL_d
//   packed, saved: as the forward left them
//   dq_unit, dk_unit: dL/dq^ and dL/dk^ as panels, written
//   dq, dq2, dk: gradients, written; None where they are not wanted
//   sizes: n, first, m, width
//   limits: largest finite numbers of the dtypes of q and k
template <class T>
double run_backward(py::handle g_rows_, py::handle g_contrastive, py::handle g_alignment, py::handle packed_,
                    py::handle saved_, py::handle values, py::handle column_values, py::handle missing,
                    py::handle row_labels, py::handle column_labels, py::handle dq_unit_, py::handle dk_unit_,
                    py::handle dq_, py::handle dq2_, py::handle dk_, py::handle sizes_, py::handle code,
                    py::handle numbers, py::handle layout_, py::handle temperature, py::handle alignment,
                    py::handle threads_, py::handle wants_temperature_, py::handle limits_) {
  const RuleArguments rule = read(
      {values, column_values, missing, row_labels, column_labels, code, numbers, layout_, temperature, alignment},
      {1, 1});
  const auto [n, first, m, width] = integers_of<4>(sizes_, "sizes");
  const Sizes sizes = {n, first, m, width};
  const Layout layout = layout_of(rule.layout);
  check_sizes(sizes, layout.square);
  check_rule(rule, layout, sizes);
  const auto g_rows = optional_array_of<T>(g_rows_, "g_rows");
  const auto packed_buffer = array_of<T>(packed_, "packed"), dq_unit = array_of<T>(dq_unit_, "dq_unit"),
             dk_unit = optional_array_of<T>(dk_unit_, "dk_unit");
  const auto saved_buffer = array_of<double>(saved_, "saved");
  const auto dq = optional_array_of<T>(dq_, "dq"), dq2 = optional_array_of<T>(dq2_, "dq2"),
             dk = optional_array_of<T>(dk_, "dk");
  if (g_rows.given) check_shape(g_rows, {4, n});
  check_shape(packed_buffer, {PackedBuffer<T>::size(sizes, layout.square)});
  check_shape(saved_buffer, {SavedBuffer::size(n)});
  check_shape(dq_unit, {panels_of(n) * kPanel * width});
  if (layout.square && (dk_unit.given || dk.given)) {
    throw std::invalid_argument("dk and dk_unit must be None in a square problem, where dq is the gradient of all rows");
  }
  if (dk_unit.given || dk.given) check_shape(dk_unit, {panels_of(m) * kPanel * width});
  if (dq.given) check_shape(dq, {first, width});
  if (dq2.given) check_shape(dq2, {n - first, width});
  if (dk.given) check_shape(dk, {m, width});
  std::vector<Span> given = side_of(rule);
  given.insert(given.end(), {Span::of(g_rows), Span::of(packed_buffer), Span::of(saved_buffer)});
  check_apart({Span::of(dq_unit), Span::of(dk_unit), Span::of(dq), Span::of(dq2), Span::of(dk)}, given);
  const int threads = threads_of(threads_);
  const bool wants_temperature = flag_of(wants_temperature_, "wants_temperature");
  const auto limits = numbers_of<2>(limits_, "limits");
  const Encoding encoding = encoding_of(rule);
  const auto packed = PackedBuffer<T>::at(packed_buffer.data, sizes, layout.square);
  const SavedBuffer saved = SavedBuffer::at(saved_buffer.data, n);
  const T* const g = g_rows.data;
  const Gradients<T> gradients{g, g == nullptr ? g : g + n, g == nullptr ? g : g + 3 * n,
                               number_of(g_contrastive, "g_contrastive"), number_of(g_alignment, "g_alignment")};

  py::gil_scoped_release unlocked;
  const double dtau =
      backward<T>(problem_of(sizes, packed, layout, rule.temperature, static_cast<int>(rule.alignment)), encoding,
                  threads, saved, gradients, dq_unit.data, dk_unit.data, wants_temperature);
  unpack_gradient<T>(dq_unit.data, packed.q, packed.q_norms, n, width, limits[0], {dq.data, first, dq2.data}, threads);
  if (dk.given) {
    unpack_gradient<T>(dk_unit.data, packed.k, packed.k_norms, m, width, limits[1], {dk.data, m, nullptr}, threads);
  }
  return dtau;
}

// The rate of fused multiply-adds from registers on all threads, measured for some seconds, in flop/s: the upper bound
// for the kernels.
double fma_rate(py::handle threads_, double seconds) {
  const int threads = threads_of(threads_);
  check_range("seconds", seconds, 0.0, 3600.0);
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

// An array of real numbers as doubles; whatever else numpy would convert, as complex numbers to their real part, is none.
Doubles doubles_of(py::handle object, const char* name) {
  const auto array = py::array::ensure(object);
  if (!array || std::string("fiub").find(array.dtype().kind()) == std::string::npos) {
    PyErr_Clear();
    throw py::type_error(std::string(name) + " must be an array of real numbers");
  }
  return Doubles(array);
}

// A filtered copy of (leads, samples); sections are rows of b0, b1, b2, 1, a1, a2, states rows of two.
Doubles filtered(py::handle signal_, py::handle sections_, py::handle states_, int64_t padding) {
  const Doubles signal = doubles_of(signal_, "signal"), sections = doubles_of(sections_, "sections"),
                states = doubles_of(states_, "states");
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
      [](py::handle fields, bool square) {
        const auto [n, first, m, width] = integers_of<4>(fields, "sizes");
        const Sizes sizes = {n, first, m, width};
        check_sizes(sizes, square);
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
