// The only file that knows Python: everything the extension offers, by name. Tensors come as addresses of contiguous
// memory, checked by the caller (ecgloss/engine/cpp.py).
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <stdexcept>
#include <vector>

#include "cpu_features.h"
#include "engine.h"
#include "instruction_set.h"
#include "panels.h"
#include "parallel.h"

namespace py = pybind11;

namespace ecgloss {
namespace {

using Address = uintptr_t;

template <class T>
T* pointer(Address address) {
  return reinterpret_cast<T*>(address);
}

// [square, positive, excluded ...]
Layout layout_of(const std::vector<int64_t>& words) {
  if (words.size() < 2 || words.size() > 2 + kMaxExcluded) throw std::invalid_argument("layout has 2 to 4 words");
  Layout layout;
  layout.square = words[0] != 0;
  layout.positive = words[1];
  layout.n_excluded = static_cast<int>(words.size()) - 2;
  for (int t = 0; t < layout.n_excluded; ++t) layout.excluded[t] = words[static_cast<size_t>(t) + 2];
  return layout;
}

// [kind, norm, absolute, clip, overlap, samples, values per sample], and the addresses
// [values, column values, known, missing, numbers, row labels, column labels], 0 for none.
RuleSource rule_of(const std::vector<int64_t>& words, const std::vector<Address>& addresses, double number) {
  if (words.size() != 7 || addresses.size() != 7) throw std::invalid_argument("a rule has 7 words and 7 addresses");
  RuleSource rule;
  rule.kind = static_cast<Kind>(words[0]);
  rule.norm = static_cast<Norm>(words[1]);
  rule.absolute = words[2] != 0;
  rule.clip = words[3] != 0;
  rule.overlap = words[4] != 0;
  rule.samples = words[5];
  rule.n_values = words[6];
  rule.values = pointer<const double>(addresses[0]);
  rule.column_values = pointer<const double>(addresses[1]);
  rule.known = pointer<const double>(addresses[2]);
  rule.missing = pointer<const double>(addresses[3]);
  rule.numbers = pointer<const double>(addresses[4]);
  rule.row_labels = pointer<const int64_t>(addresses[5]);
  rule.column_labels = pointer<const int64_t>(addresses[6]);
  rule.number = number;
  return rule;
}

struct Sizes {
  int64_t n, m, width;
};

template <class T>
Problem<T> problem_of(Sizes sizes, Address rows, Address columns, const Layout& layout, double tau, int similarity) {
  Problem<T> problem;
  problem.n = sizes.n;
  problem.m = sizes.m;
  problem.width = sizes.width;
  problem.rows = pointer<const T>(rows);
  problem.columns = pointer<const T>(columns);
  problem.layout = layout;
  problem.tau = tau;
  problem.similarity = static_cast<Similarity>(similarity);
  return problem;
}

// inputs: q, k (0: q); panels and norms: of q and k, written; outputs: positive_sum, positive_lse, positive_count,
// negative_lse, lse, block extremes, scalars, written.
template <class T>
double run_forward(Sizes sizes, const std::vector<Address>& inputs, const std::vector<Address>& panels,
                 const std::vector<Address>& norms, const std::vector<Address>& outputs,
                 const std::vector<int64_t>& layout_words, const std::vector<int64_t>& rule_words,
                 const std::vector<Address>& rule_addresses, double number, double tau, int similarity, int threads) {
  const Layout layout = layout_of(layout_words);
  const RuleSource rule = rule_of(rule_words, rule_addresses, number);
  py::gil_scoped_release unlocked;
  pack<T>(pointer<const T>(inputs[0]), sizes.n, sizes.width, pointer<T>(panels[0]), pointer<T>(norms[0]), threads);
  if (!layout.square) {
    pack<T>(pointer<const T>(inputs[1]), sizes.m, sizes.width, pointer<T>(panels[1]), pointer<T>(norms[1]), threads);
  }
  const auto problem = problem_of<T>(sizes, panels[0], panels[layout.square ? 0 : 1], layout, tau, similarity);
  const RowStatistics<T> statistics{pointer<T>(outputs[0]),      pointer<T>(outputs[1]),      pointer<T>(outputs[2]),
                                    pointer<T>(outputs[3]),      pointer<double>(outputs[4]), pointer<double>(outputs[5])};
  Scalars& scalars = *pointer<Scalars>(outputs[6]);
  scalars = Scalars();
  forward<T>(problem, rule, threads, statistics, scalars);
  return scalars.squared_error;
}

// gradients: of positive_sum, positive_lse, negative_lse (0: none); saved: lse, block extremes, scalars;
// accumulators: panels of zeros for dL/dq^ and dL/dk^ (0: not wanted); outputs: dL/dq, dL/dk (0: not wanted).
template <class T>
double run_backward(Sizes sizes, const std::vector<Address>& gradients, double error_gradient,
                    const std::vector<Address>& panels, const std::vector<Address>& norms, const std::vector<Address>& saved,
                    const std::vector<Address>& accumulators, const std::vector<Address>& outputs,
                    const std::vector<int64_t>& layout_words, const std::vector<int64_t>& rule_words,
                    const std::vector<Address>& rule_addresses, double number, double tau, int similarity, int threads,
                    bool wants_temperature, std::pair<double, double> limits) {
  const Layout layout = layout_of(layout_words);
  const RuleSource rule = rule_of(rule_words, rule_addresses, number);
  py::gil_scoped_release unlocked;
  const auto problem = problem_of<T>(sizes, panels[0], panels[layout.square ? 0 : 1], layout, tau, similarity);
  const RowGradients<T> row_gradients{pointer<const T>(gradients[0]), pointer<const T>(gradients[1]),
                                      pointer<const T>(gradients[2]), error_gradient};
  const double temperature =
      backward<T>(problem, rule, threads, pointer<const double>(saved[0]), pointer<const double>(saved[1]),
                  *pointer<const Scalars>(saved[2]), row_gradients, pointer<T>(accumulators[0]), pointer<T>(accumulators[1]),
                  wants_temperature);
  unpack_gradient<T>(pointer<const T>(accumulators[0]), problem.rows, pointer<const T>(norms[0]), sizes.n, sizes.width,
                     limits.first, pointer<T>(outputs[0]), threads);
  if (outputs[1] != 0) {
    unpack_gradient<T>(pointer<const T>(accumulators[1]), problem.columns, pointer<const T>(norms[1]), sizes.m, sizes.width,
                       limits.second, pointer<T>(outputs[1]), threads);
  }
  return temperature;
}

// Fused multiply-adds from registers on all threads for some seconds, in flop/s: what the kernels are measured against.
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
  module.attr("PANEL") = kPanel;
  module.attr("SCALARS") = kScalars;
  module.def("cpu_features", &cpu_features, "Vector instruction sets this machine can run.");
  module.def("instruction_sets", &instruction_sets, "Instruction sets with kernels that run here, widest first.");
  module.def("instruction_set", [] { return std::string(instruction_set().name); }, "The instruction set in use.");
  module.def("use_instruction_set", &use_instruction_set, "Use another of instruction_sets().");
  module.def("threading", [] { return std::string(threading()); }, "Where threads come from.");
  module.def("fma_rate", &fma_rate, py::arg("threads"), py::arg("seconds"), "Multiply-adds from registers, flop/s.");
  py::class_<Sizes>(module, "Sizes").def(py::init<int64_t, int64_t, int64_t>());
  module.def("forward_single", &run_forward<float>);
  module.def("forward_double", &run_forward<double>);
  module.def("backward_single", &run_backward<float>);
  module.def("backward_double", &run_backward<double>);
}
