// How S is cut into tiles, and the scratch memory of each thread.
#pragma once

#include <cstdlib>
#include <new>
#include <vector>

#include "schedule.h"
#include "task.h"

namespace ecgloss {

// Blocks of whole panels. Their sizes depend on the problem, not on the number of threads, so that results do not
// either.
class Plan {
 public:
  template <class T>
  explicit Plan(const Problem<T>& problem);

  int64_t row_panels() const { return row_panels_; }
  int64_t column_panels() const { return column_panels_; }
  Schedule schedule(bool square) const;

  template <class T>
  Tile<T> tile(const Problem<T>& problem, const Turn& turn) const;

 private:
  int64_t row_panels_, column_panels_;  // per block
  int64_t all_rows_, all_columns_;      // panels of q and of k
};

// Scratch of all threads, aligned to cache lines.
template <class T>
class Workspaces {
 public:
  Workspaces(const Plan& plan, const Problem<T>& problem, int64_t lanes, bool backward, int threads);
  ~Workspaces();
  Workspaces(const Workspaces&) = delete;
  Workspaces& operator=(const Workspaces&) = delete;
  const Workspace<T>& operator[](int thread) const { return workspaces_[static_cast<size_t>(thread)]; }

 private:
  std::vector<void*> blocks_;
  std::vector<Workspace<T>> workspaces_;
};

}  // namespace ecgloss
