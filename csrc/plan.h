// How a problem is cut: blocks of rows and columns, and the scratch memory of each thread.
#pragma once

#include <cstdlib>
#include <new>
#include <vector>

#include "problem.h"
#include "schedule.h"

namespace ecgloss {

// Cut into blocks of whole panels. Block sizes follow from the problem alone, never from the number of threads.
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
  int64_t all_rows_, all_columns_;      // panels
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
