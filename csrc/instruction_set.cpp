#include "instruction_set.h"

#include <atomic>
#include <stdexcept>

#include "cpu_features.h"

namespace ecgloss {
namespace {

bool has(const char* feature) {
  for (const std::string& found : cpu_features()) {
    if (found == feature) return true;
  }
  return false;
}

std::vector<const InstructionSet*> find() {
  std::vector<const InstructionSet*> found;
  const auto add = [&](const InstructionSet* set, bool runs) {
    if (set != nullptr && runs) found.push_back(set);
  };
  add(avx512_kernels(), has("avx512f") && has("avx512vl") && has("avx512dq") && has("avx512bw") && has("fma"));
  add(avx2_kernels(), has("avx2") && has("fma"));
  add(neon_kernels(), has("neon"));
  add(generic_kernels(), true);
  return found;
}

std::atomic<const InstructionSet*>& chosen() {
  static std::atomic<const InstructionSet*> set{usable_instruction_sets().front()};
  return set;
}

}  // namespace

const std::vector<const InstructionSet*>& usable_instruction_sets() {
  static const std::vector<const InstructionSet*> sets = find();
  return sets;
}

const InstructionSet& instruction_set() { return *chosen().load(); }

template <>
const Kernels<float>& kernels<float>() {
  return *instruction_set().single;
}

template <>
const Kernels<double>& kernels<double>() {
  return *instruction_set().wide;
}

void use_instruction_set(const std::string& name) {
  std::string names;
  for (const InstructionSet* set : usable_instruction_sets()) {
    if (name == set->name) return chosen().store(set);
    names += names.empty() ? set->name : std::string(", ") + set->name;
  }
  throw std::invalid_argument("instruction set '" + name + "' is not usable here; accepted: " + names);
}

}  // namespace ecgloss
