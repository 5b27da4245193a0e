#include "plan.h"

#include <algorithm>

namespace ecgloss {
namespace {

constexpr int64_t kLargest = 3;  // panels per block: the scratch of a tile of 144 x 144 pairs stays in the L2 cache
constexpr int64_t kParallelBlocks = 16;  // at least, if there are as many panels: enough for parallel threads
constexpr size_t kLine = 64;             // bytes of a cache line

int64_t block_size(int64_t panels) { return std::clamp(panels / kParallelBlocks, int64_t{1}, kLargest); }

int64_t count(int64_t panels, int64_t size) { return (panels + size - 1) / size; }

Block block(int64_t index, int64_t size, int64_t all, int64_t n) {
  const int64_t panel = index * size, panels = std::min(size, all - panel);
  return {panel, panels, panel * kPanel, std::min(n - panel * kPanel, panels * kPanel)};
}

}  // namespace

template <class T>
Plan::Plan(const Problem<T>& problem) : all_rows_(panels_of(problem.n)), all_columns_(panels_of(problem.m)) {
  row_panels_ = block_size(all_rows_);
  column_panels_ = problem.layout.square ? row_panels_ : std::min(kLargest, all_columns_);
}

Schedule Plan::schedule(bool square) const {
  const auto rows = static_cast<int32_t>(count(all_rows_, row_panels_));
  return square ? square_schedule(rows)
                : rectangular_schedule(rows, static_cast<int32_t>(count(all_columns_, column_panels_)));
}

template <class T>
Tile<T> Plan::tile(const Problem<T>& problem, const Turn& turn) const {
  return {block(turn.row, row_panels_, all_rows_, problem.n),
          block(turn.column, column_panels_, all_columns_, problem.m),
          problem.layout.square && turn.row != turn.column};
}

template <class T>
Workspaces<T>::Workspaces(const Plan& plan, const Problem<T>& problem, int64_t lanes, bool backward, int threads) {
  const size_t height = static_cast<size_t>(plan.row_panels() * kPanel);
  const size_t pairs = height * static_cast<size_t>(plan.column_panels() * kPanel);
  const bool features = problem.rule.kind == Kind::features;
  const size_t sums = 4 * height * static_cast<size_t>(lanes);
  const size_t buffers = 2 + (backward ? 2 : 0) + (features ? 1 : 0);
  const size_t bytes = ((buffers * pairs + sums) * sizeof(T) + kLine - 1) / kLine * kLine;
  for (int t = 0; t < threads; ++t) {
    void* memory = ::operator new (bytes, std::align_val_t{kLine});
    blocks_.push_back(memory);
    T* next = static_cast<T*>(memory);
    const auto take = [&](bool wanted, size_t size) {
      T* taken = wanted ? next : nullptr;
      if (wanted) next += size;
      return taken;
    };
    Workspace<T> work;
    work.similarities = take(true, pairs);
    work.keep = take(true, pairs);
    work.gradient = take(backward, pairs);
    work.transposed = take(backward, pairs);
    work.features = take(features, pairs);
    work.row_sums = take(true, sums);
    workspaces_.push_back(work);
  }
}

template <class T>
Workspaces<T>::~Workspaces() {
  for (void* block : blocks_) ::operator delete (block, std::align_val_t{kLine});
}

template Plan::Plan(const Problem<float>&);
template Plan::Plan(const Problem<double>&);
template Tile<float> Plan::tile(const Problem<float>&, const Turn&) const;
template Tile<double> Plan::tile(const Problem<double>&, const Turn&) const;
template class Workspaces<float>;
template class Workspaces<double>;

}  // namespace ecgloss
