// The threads of a block as fibers, their barriers, shared memory and what is on its way to it: part
// of hopper_emulation.h, which says what is checked.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

struct float2 {
  float x, y;
};
struct float4 {
  float x, y, z, w;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};

namespace latentpath {
namespace hopper {

using Fragment = uint4;

// A matrix of 16-bit numbers that copies take boxes of 64 x 64 from.
struct TensorMap {
  const uint16_t* data;  // [rows, columns]
  int rows, columns;
};

constexpr int kEmulatedThreads = 384;
constexpr int kMostBarriers = 64;
constexpr uint32_t kSharedBegins = 1024;  // where a block's own shared memory begins on a GPU
constexpr uint32_t kGranule = 1024;       // eight rows of 128 bytes

[[noreturn]] void fail(const std::string& what);

// Per thread, and per barrier for the copies that arrive there: how much of it was seen.
struct Clock {
  std::array<uint32_t, kEmulatedThreads + kMostBarriers> times{};
  void join(const Clock& other) {
    for (size_t i = 0; i < times.size(); ++i) times[i] = std::max(times[i], other.times[i]);
  }
};

struct Barrier {
  int number = 0, count = 0, pending = 0, phase = 0;
  int maker = 0;
  uint32_t time = 0;  // of the fence after it was made; 0 before
  int64_t bytes = 0;
  Clock arrived, completed;
};

// What became of eight rows that copies write and products read.
struct Granule {
  bool used = false, written = false, on_its_way = false;
  int reads_on_their_way = 0;
  int barrier = 0;  // whose copies wrote it last
  uint32_t time = 0;
  std::array<uint32_t, kEmulatedThreads> reads{};
};

// Four bytes that threads read and write.
struct Word {
  int writer = -1;
  uint32_t time = 0;
  std::vector<std::pair<int, uint32_t>> reads;
};

struct Copy {
  const TensorMap* map;
  uint32_t place;
  Barrier* barrier;
  int column, row;
  Clock clock;
};

struct Product {
  bool is_sum = false, is_bfloat16 = false, adds = true, done = false;
  uint64_t a = 0, b = 0;
  int issued = 0;
  std::array<float*, 128> d{};
  std::array<const Fragment*, 128> fragments{};
  std::array<Fragment, 128> values{};
  std::vector<uint32_t> granules;
};

struct WarpGroup {
  std::deque<Product> products;  // all of them, in order
  size_t done = 0;
  // What accumulators hold while products are on their way to them, by thread; empty otherwise.
  // Scores are one set of registers and sums the other.
  std::array<std::array<std::vector<float>, 128>, 2> on_their_way;
};

struct Fiber {
  ucontext_t context{};
  std::vector<char> stack;
  std::function<bool()> blocked;  // empty: it can go on
  bool finished = false, slow = false, fenced = false;
  Clock clock;
  size_t issued = 0, committed = 0, waited = 0;
  int registers = 168;
};

struct Meeting {  // of the lanes of a warp, or of all threads
  int arrived = 0, generation = 0;
  std::string what;
  std::array<float, 32> values{}, results{};
  Clock clock, met;
};

class Machine {
 public:
  Machine(size_t shared_bytes, int block_x, int block_y, unsigned seed)
      : x(block_x), y(block_y), random_(seed) {
    shared.resize(shared_bytes + 2048);
    unsigned char* first = shared.data();
    base = first + (1024 - reinterpret_cast<uintptr_t>(first) % 1024) % 1024;
    bytes = shared_bytes;
    memset(base, 0xff, bytes);  // NaN
    granules.resize(bytes / kGranule + 1);
    words.resize(bytes / 4 + 1);
    eagerness_ = 1 + random_() % 8;
  }

  void run(const std::function<void()>& body) {
    current_machine() = this;
    body_ = &body;
    std::array<bool, kEmulatedThreads / 32> slow{};
    for (auto& warp : slow) warp = random_() % 3 == 0;
    for (int t = 0; t < kEmulatedThreads; ++t) {
      Fiber& fiber = fibers[size_t(t)];
      fiber.stack.resize(64 << 10);
      fiber.slow = slow[size_t(t / 32)];
      fiber.clock.times[size_t(t)] = 1;
      getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = fiber.stack.data();
      fiber.context.uc_stack.ss_size = fiber.stack.size();
      fiber.context.uc_link = &scheduler_;
      makecontext(&fiber.context, &Machine::enter, 0);
    }
    schedule();
    if (!copies.empty()) fail("copies are on their way when the block ends");
    for (auto& group : groups) {
      if (group.done != group.products.size()) fail("products are on their way at the end");
    }
    int registers = 0;
    for (const auto& fiber : fibers) registers += fiber.registers;
    if (registers > 65536) fail("the threads take more registers than there are");
    current_machine() = nullptr;
  }

  static Machine*& current_machine() {
    static Machine* machine = nullptr;
    return machine;
  }

  // Where another thread may come before this one.
  void step() {
    if (random_() % 4 == 0) yield();
  }

  void block_until(std::function<bool()> can_go_on) {
    fibers[size_t(thread)].blocked = std::move(can_go_on);
    yield();
  }

  Fiber& self() { return fibers[size_t(thread)]; }
  uint32_t now() { return self().clock.times[size_t(thread)]; }
  // After others may have seen this thread's clock.
  void tick() { ++self().clock.times[size_t(thread)]; }

  bool seen(int other, uint32_t time) { return self().clock.times[size_t(other)] >= time; }

  uint32_t offset_of(uint32_t address, uint32_t size) {
    if (address < kSharedBegins || address - kSharedBegins + size > bytes) {
      fail("an address outside of shared memory");
    }
    return address - kSharedBegins;
  }

  Barrier& barrier_at(uint32_t address) {
    const auto found = barriers.find(offset_of(address, 8));
    if (found == barriers.end()) fail("a barrier that was not made");
    Barrier& barrier = found->second;
    if (barrier.time == 0 || !seen(barrier.maker, barrier.time)) {
      fail("a barrier is used without a fence and a sync_block() since it was made");
    }
    return barrier;
  }

  void end_phase_of(Barrier& barrier) {
    if (barrier.pending > 0 || barrier.bytes != 0) return;
    ++barrier.phase;
    barrier.pending = barrier.count;
    barrier.completed = barrier.arrived;
    barrier.arrived = Clock{};
  }

  void arrive_at(uint32_t address, int64_t expected) {
    Barrier& barrier = barrier_at(address);
    if (barrier.pending == 0) fail("more arrivals at a barrier than it counts");
    barrier.bytes += expected;
    --barrier.pending;
    barrier.arrived.join(self().clock);
    tick();
    end_phase_of(barrier);
  }

  void complete(const Copy& copy) {
    for (int r = 0; r < 64; ++r) {
      for (int c = 0; c < 64; ++c) {
        uint32_t at = copy.place + uint32_t(r * 128 + c * 2);
        at ^= (at >> 7 & 7) << 4;
        const int row = copy.row + r, column = copy.column + c;
        const bool inside = row < copy.map->rows && column < copy.map->columns;
        const uint16_t value =
            inside ? copy.map->data[int64_t(row) * copy.map->columns + column] : uint16_t(0);
        memcpy(base + at - kSharedBegins, &value, 2);
      }
    }
    Barrier& barrier = *copy.barrier;
    const auto component = size_t(kEmulatedThreads + barrier.number);
    const uint32_t time = ++copy_times[size_t(barrier.number)];
    for (uint32_t g = 0; g < 8; ++g) {
      Granule& granule = granules[(copy.place - kSharedBegins) / kGranule + g];
      granule.on_its_way = false;
      granule.written = true;
      granule.barrier = barrier.number;
      granule.time = time;
    }
    barrier.arrived.join(copy.clock);
    barrier.arrived.times[component] = time;
    barrier.bytes -= 64 * 128;
    end_phase_of(barrier);
  }

  // ---- products: hopper_products.h ----

  void issue(float* d, int size, uint64_t a, const Fragment* fragment, uint64_t b, bool adds,
             bool is_bfloat16);
  void commit();
  void wait_for_products();
  void execute(WarpGroup& group);
  void find_granules(Product& product);
  float number_at(uint32_t address, bool is_bfloat16);

  // ---- meetings ----

  void meet(Meeting& meeting, int count, const std::string& what, bool orders) {
    step();
    if (meeting.arrived > 0 && meeting.what != what) {
      fail("lanes of a warp meet at different instructions: " + meeting.what + ", " + what);
    }
    meeting.what = what;
    if (orders) meeting.clock.join(self().clock);
    const int generation = meeting.generation;
    if (++meeting.arrived == count) {
      meeting.arrived = 0;
      meeting.met = meeting.clock;
      meeting.clock = Clock{};
      meeting.results = meeting.values;
      ++meeting.generation;
    } else {
      block_until([&meeting, generation] { return meeting.generation != generation; });
    }
    if (orders) {
      self().clock.join(meeting.met);
      tick();
    }
  }

  // ---- ordinary accesses ----

  void access(const void* pointer, size_t size, bool writes) {
    step();
    const auto* at = static_cast<const unsigned char*>(pointer);
    if (at < base || at + size > base + bytes) fail("an ordinary access outside of shared memory");
    const size_t begin = size_t(at - base);
    if (granules[begin / kGranule].used) fail("an ordinary access to what copies write");
    for (size_t i = begin / 4; i < (begin + size) / 4; ++i) {
      Word& word = words[i];
      if (!writes && word.writer < 0) fail("shared memory is read that nobody has written");
      if (word.writer >= 0 && !seen(word.writer, word.time)) {
        fail(writes ? "two threads write the same place" : "a place is read while it is written");
      }
      if (writes) {
        for (const auto& [reader, time] : word.reads) {
          if (!seen(reader, time)) fail("a place is written while it is read");
        }
        word.reads.clear();
        word.writer = thread;
        word.time = now();
      } else {
        word.reads.emplace_back(thread, now());
      }
    }
  }

  int thread = 0;
  int x, y;
  unsigned char* base = nullptr;
  size_t bytes = 0;
  std::vector<unsigned char> shared;
  std::array<Fiber, kEmulatedThreads> fibers;
  std::array<WarpGroup, kEmulatedThreads / 128> groups;
  std::array<Meeting, kEmulatedThreads / 32> warps;
  Meeting block;
  std::map<uint32_t, Barrier> barriers;
  std::array<uint32_t, kMostBarriers> copy_times{};
  std::vector<Granule> granules;
  std::vector<Word> words;
  std::vector<Copy> copies;

 private:
  static void enter() {
    Machine* machine = current_machine();
    (*machine->body_)();
    Fiber& fiber = machine->self();
    if (fiber.waited != fiber.issued) fail("a thread ends before its products");
    fiber.finished = true;
  }

  void yield() { swapcontext(&self().context, &scheduler_); }

  // Lets a copy or a product happen, if there is one; they may come in any order.
  bool let_something_happen() {
    std::vector<int> ready;
    for (size_t g = 0; g < groups.size(); ++g) {
      WarpGroup& group = groups[g];
      if (group.done < group.products.size() && group.products[group.done].issued == 128) {
        ready.push_back(int(g));
      }
    }
    const size_t choices = ready.size() + copies.size();
    if (choices == 0) return false;
    const size_t chosen = random_() % choices;
    if (chosen < ready.size()) {
      execute(groups[size_t(ready[chosen])]);
    } else {
      const size_t i = chosen - ready.size();
      const Copy copy = copies[i];
      copies[i] = copies.back();
      copies.pop_back();
      complete(copy);
    }
    return true;
  }

  void schedule() {
    std::vector<int> waiting(kEmulatedThreads);
    for (int t = 0; t < kEmulatedThreads; ++t) waiting[size_t(t)] = t;
    while (!waiting.empty()) {
      if (random_() % (64 * eagerness_) == 0) let_something_happen();
      const int chosen = next_of(waiting);
      if (chosen < 0) {
        if (!let_something_happen()) fail("nobody can go on: " + who_waits());
        continue;
      }
      thread = waiting[size_t(chosen)];
      self().blocked = nullptr;
      swapcontext(&scheduler_, &self().context);
      if (self().finished) {
        waiting[size_t(chosen)] = waiting.back();
        waiting.pop_back();
      }
    }
  }

  // The place in `waiting` of a thread that can go on, drawn, slow ones rarely; -1 where none can.
  int next_of(const std::vector<int>& waiting) {
    const size_t count = waiting.size();
    const size_t first = random_() % count;
    const bool takes_slow = random_() % 16 == 0;
    int slow = -1;
    for (size_t i = 0; i < count; ++i) {
      const size_t at = (first + i) % count;
      const Fiber& fiber = fibers[size_t(waiting[at])];
      if (fiber.blocked && !fiber.blocked()) continue;
      if (!fiber.slow || takes_slow) return int(at);
      slow = int(at);
    }
    return slow;
  }

  std::string who_waits() {
    std::string text;
    for (int w = 0; w < kEmulatedThreads / 32; ++w) {
      int count = 0;
      for (int t = 32 * w; t < 32 * w + 32; ++t) count += !fibers[size_t(t)].finished;
      if (count > 0) text += std::to_string(count) + " lanes of warp " + std::to_string(w) + ", ";
    }
    return text;
  }

  std::mt19937 random_;
  unsigned eagerness_ = 1;
  const std::function<void()>* body_ = nullptr;
  ucontext_t scheduler_{};
};

[[noreturn]] inline void fail(const std::string& what) {
  const Machine* machine = Machine::current_machine();
  const int thread = machine == nullptr ? -1 : machine->thread;
  std::printf("thread %d: %s\n", thread, what.c_str());
  std::fflush(stdout);
  std::_Exit(1);
}

inline Machine& machine() { return *Machine::current_machine(); }

}  // namespace hopper
}  // namespace latentpath
