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

// [square, positive, excluded shifts ...]
Layout layout_of(const std::vector<int64_t>& words) {
  if (words.size() < 2 || words.size() > 2 + kMaxExcluded)
    throw std::invalid_argument("layout has 2 to 10 words: square, positive, at most 8 excluded shifts");
  Layout layout;
  layout.square = words[0] != 0;
  layout.positive = words[1];
  layout.n_excluded = static_cast<int>(words.size()) - 2;
  for (int t = 0; t < layout.n_excluded; ++t) layout.excluded[t] = words[static_cast<size_t>(t) + 2];
  return layout;
}

// words: kind, norm, power, unknown is zero, revert, overlap, samples, values per sample or row;
// numbers: alpha, fixed scale, threshold; addresses (0 for none): values, column values, missing, row and column
// labels.
RuleSource rule_of(const std::vector<int64_t>& words, const std::vector<double>& numbers,
                   const std::vector<Address>& addresses) {
  if (words.size() != 8 || numbers.size() != 3 || addresses.size() != 5) {
    throw std::invalid_argument("a rule has 8 words, 3 numbers and 5 addresses");
  }
  RuleSource rule;
  rule.kind = static_cast<Kind>(words[0]);
  rule.norm = static_cast<Norm>(words[1]);
  rule.overlap = words[5] != 0;
  rule.n_values = words[7];
  rule.row_values = pointer<const double>(addresses[0]);
  rule.column_values = pointer<const double>(addresses[1]);
  rule.threshold = numbers[2];
  rule.row_labels = pointer<const int64_t>(addresses[3]);
  rule.column_labels = pointer<const int64_t>(addresses[4]);
  rule.risk.samples = words[6];
  rule.risk.n_values = words[7];
  rule.risk.risks = rule.row_values;
  rule.risk.missing = pointer<const double>(addresses[2]);
  rule.risk.alpha = numbers[0];
  rule.risk.fixed_scale = numbers[1];
  rule.risk.absolute = words[2] == 1;
  rule.risk.unknown_is_zero = words[3] != 0;
  rule.risk.revert = words[4] != 0;
  return rule;
}

struct Sizes {
  int64_t n, first, m, width;  // rows of q, of its first piece, of k; embedding width
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

// inputs: q, its second piece (0: none), k (0: q); panels and norms: of q and k, written; outputs: loss, cross entropy,
// squared error, rows, sums of rows, block extremes, scalars, written.
template <class T>
void run_forward(Sizes sizes, const std::vector<Address>& inputs, const std::vector<Address>& panels,
                 const std::vector<Address>& norms, const std::vector<Address>& outputs,
                 const std::vector<int64_t>& layout_words, const std::vector<int64_t>& rule_words,
                 const std::vector<double>& rule_numbers, const std::vector<Address>& rule_addresses, double tau,
                 int similarity, std::pair<double, double> term_weights, int threads) {
  const Layout layout = layout_of(layout_words);
  const RuleSource rule = rule_of(rule_words, rule_numbers, rule_addresses);
  py::gil_scoped_release unlocked;
  pack<T>({pointer<const T>(inputs[0]), sizes.first, pointer<const T>(inputs[1])}, sizes.n, sizes.width,
          pointer<T>(panels[0]), pointer<T>(norms[0]), threads);
  if (!layout.square) {
    pack<T>({pointer<const T>(inputs[2]), sizes.m, nullptr}, sizes.m, sizes.width, pointer<T>(panels[1]),
            pointer<T>(norms[1]), threads);
  }
  const auto problem = problem_of<T>(sizes, panels[0], panels[layout.square ? 0 : 1], layout, tau, similarity);
  T* rows = pointer<T>(outputs[3]);
  const RowStatistics<T> statistics{rows,
                                    rows + sizes.n,
                                    rows + 2 * sizes.n,
                                    rows + 3 * sizes.n,
                                    pointer<double>(outputs[4]),
                                    pointer<double>(outputs[5])};
  Scalars& scalars = *pointer<Scalars>(outputs[6]);
  scalars = Scalars();
  forward<T>(problem, rule, threads, statistics, scalars);
  double loss = term_weights.first * scalars.cross_entropy;
  if (similarity != 0) loss += term_weights.second * scalars.squared_error;
  *pointer<T>(outputs[0]) = static_cast<T>(loss);
  *pointer<T>(outputs[1]) = static_cast<T>(scalars.cross_entropy);
  *pointer<T>(outputs[2]) = static_cast<T>(scalars.squared_error);
}

// gradient: of rows (0: none); saved: sums of rows, block extremes, scalars;
// accumulators: panels of zeros for dL/dq^ and dL/dk^ (0: not wanted); outputs: dL/dq, of its second piece, dL/dk
// (0: not wanted); limits: largest numbers of the types of q and k.
template <class T>
double run_backward(Sizes sizes, Address gradient, double entropy_gradient, double error_gradient,
                    const std::vector<Address>& panels, const std::vector<Address>& norms,
                    const std::vector<Address>& saved, const std::vector<Address>& accumulators,
                    const std::vector<Address>& outputs, const std::vector<int64_t>& layout_words,
                    const std::vector<int64_t>& rule_words, const std::vector<double>& rule_numbers,
                    const std::vector<Address>& rule_addresses, double tau, int similarity, int threads,
                    bool wants_temperature, std::pair<double, double> limits) {
  const Layout layout = layout_of(layout_words);
  const RuleSource rule = rule_of(rule_words, rule_numbers, rule_addresses);
  py::gil_scoped_release unlocked;
  const auto problem = problem_of<T>(sizes, panels[0], panels[layout.square ? 0 : 1], layout, tau, similarity);
  const T* g = pointer<const T>(gradient);
  const RowGradients<T> row_gradients{g, g == nullptr ? g : g + sizes.n, g == nullptr ? g : g + 3 * sizes.n,
                                      entropy_gradient, error_gradient};
  const double temperature =
      backward<T>(problem, rule, threads, pointer<const double>(saved[0]), pointer<const double>(saved[1]),
                  *pointer<const Scalars>(saved[2]), row_gradients, pointer<T>(accumulators[0]),
                  pointer<T>(accumulators[1]), wants_temperature);
  unpack_gradient<T>(pointer<const T>(accumulators[0]), problem.rows, pointer<const T>(norms[0]), sizes.n, sizes.width,
                     limits.first, {pointer<T>(outputs[0]), sizes.first, pointer<T>(outputs[1])}, threads);
  if (outputs[2] != 0) {
    unpack_gradient<T>(pointer<const T>(accumulators[1]), problem.columns, pointer<const T>(norms[1]), sizes.m,
                       sizes.width, limits.second, {pointer<T>(outputs[2]), sizes.m, nullptr}, threads);
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
  py::class_<Sizes>(module, "Sizes").def(py::init<int64_t, int64_t, int64_t, int64_t>());
  module.def("forward_single", &run_forward<float>);
  module.def("forward_double", &run_forward<double>);
  module.def("backward_single", &run_backward<float>);
  module.def("backward_double", &run_backward<double>);
}
