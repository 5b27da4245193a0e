// The order of tiles, which makes every sum the same bit for bit for any number of threads.
//
// A tile (I, J) adds to row block I and to column block J. The tiles of a block run one at a time and in the order of
// the list, on any thread; two tiles without a common block may run at once. The list is ordered in rounds in which no
// block occurs twice (a round-robin tournament), so that threads seldom wait.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace ecgloss {

struct Turn {
  int32_t row, column;            // blocks of the tile
  int32_t row_turn, column_turn;  // number of earlier turns of these blocks, which must be over
};

struct Schedule {
  std::vector<Turn> turns;
  int32_t row_blocks, column_blocks;
  bool square;    // the blocks of columns are the blocks of rows
  int32_t width;  // tiles of the largest round: the most threads that can run at once
};

// Tiles on and below the diagonal.
Schedule square_schedule(int32_t blocks);

// All tiles.
Schedule rectangular_schedule(int32_t row_blocks, int32_t column_blocks);

// Does work(turn, upcoming, thread) for every turn. `upcoming` is what the thread will probably take next.
void run(const Schedule& schedule, int threads,
         const std::function<void(const Turn& turn, const Turn& upcoming, int thread)>& work);

}  // namespace ecgloss
