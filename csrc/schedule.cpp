#include "schedule.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>

#include "parallel.h"

namespace ecgloss {
namespace {

using Counters = std::unique_ptr<std::atomic<int32_t>[]>;

Counters zeros(int32_t n) {
  Counters counters(new std::atomic<int32_t>[n]);
  for (int32_t i = 0; i < n; ++i) counters[i].store(0, std::memory_order_relaxed);
  return counters;
}

void wait_for(const std::atomic<int32_t>& turns, int32_t wanted) {
  for (int spins = 0; turns.load(std::memory_order_acquire) != wanted; ++spins) {
    if (spins > 1000) std::this_thread::yield();
  }
}

}  // namespace

Schedule square_schedule(int32_t blocks) {
  // The circle method for an odd number of players: in round r, r + i meets r - i, and r meets itself.
  const int32_t players = blocks | 1;
  std::vector<int32_t> turns(blocks, 0);
  Schedule schedule{{}, blocks, blocks, true, (players + 1) / 2};
  schedule.turns.reserve(static_cast<size_t>(blocks) * (blocks + 1) / 2);
  for (int32_t round = 0; round < players; ++round) {
    for (int32_t i = 0; i <= players / 2; ++i) {
      const int32_t a = (round + i) % players, b = (round - i + players) % players;
      if (a >= blocks || b >= blocks) continue;  // the added player of an even number of blocks
      const int32_t row = std::max(a, b), column = std::min(a, b);
      schedule.turns.push_back({row, column, turns[row], turns[column]});
      ++turns[row];
      if (row != column) ++turns[column];
    }
  }
  return schedule;
}

Schedule rectangular_schedule(int32_t row_blocks, int32_t column_blocks) {
  const int32_t rounds = std::max(row_blocks, column_blocks), width = std::min(row_blocks, column_blocks);
  std::vector<int32_t> row_turns(row_blocks, 0), column_turns(column_blocks, 0);
  Schedule schedule{{}, row_blocks, column_blocks, false, width};
  schedule.turns.reserve(static_cast<size_t>(row_blocks) * column_blocks);
  for (int32_t round = 0; round < rounds; ++round) {
    for (int32_t i = 0; i < width; ++i) {
      const int32_t other = (i + round) % rounds;
      const int32_t row = row_blocks <= column_blocks ? i : other, column = row_blocks <= column_blocks ? other : i;
      schedule.turns.push_back({row, column, row_turns[row]++, column_turns[column]++});
    }
  }
  return schedule;
}

void run(const Schedule& schedule, int threads,
         const std::function<void(const Turn&, const Turn&, int)>& work) {
  const int64_t n = static_cast<int64_t>(schedule.turns.size());
  const int used = std::max(1, std::min(threads, static_cast<int>(schedule.width)));
  const auto turn_at = [&](int64_t t) -> const Turn& {
    return schedule.turns[static_cast<size_t>(std::min(t, n - 1))];
  };
  if (used == 1) {
    for (int64_t t = 0; t < n; ++t) work(turn_at(t), turn_at(t + 1), 0);
    return;
  }
  // No deadlock: a turn waits only for earlier turns of the list, and turns are taken in its order.
  const Counters rows = zeros(schedule.row_blocks), others = zeros(schedule.square ? 0 : schedule.column_blocks);
  std::atomic<int32_t>* const columns = schedule.square ? rows.get() : others.get();
  std::atomic<int64_t> next{0};
  in_parallel(used, [&](int thread) {
    for (;;) {
      const int64_t t = next.fetch_add(1, std::memory_order_relaxed);
      if (t >= n) return;
      const Turn& turn = turn_at(t);
      const bool diagonal = schedule.square && turn.row == turn.column;
      wait_for(rows[turn.row], turn.row_turn);
      if (!diagonal) wait_for(columns[turn.column], turn.column_turn);
      work(turn, turn_at(t + used), thread);
      rows[turn.row].store(turn.row_turn + 1, std::memory_order_release);
      if (!diagonal) columns[turn.column].store(turn.column_turn + 1, std::memory_order_release);
    }
  });
}

}  // namespace ecgloss
