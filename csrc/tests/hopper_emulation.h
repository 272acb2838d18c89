// The functions of cuda/hopper.h for a processor: one block of threads of a Hopper GPU, emulated.
//
// Every thread is a fiber; which one runs next, and when a copy or a product that was started is
// done, is drawn from a seed, some warps being slow, so that many seeds are many orders of events.
// Beyond computing what the instructions compute, this takes for an error, and stops at, what
// NVIDIA's manual "Parallel Thread Execution ISA" leaves undefined or what would hang:
//
// - a place in shared memory that a thread, a copy or a product reads or writes without a barrier
//   between it and the last other access (found by vector clocks, whatever the order drawn);
// - registers of a product that are changed or read before it was waited for, products without
//   wgmma.fence, commit or wait, or that differ between the threads of a warp group;
// - arrivals beyond a barrier's count, a wait whose parity means another phase, copies or products
//   still on their way at the end;
// - a state in which nobody can go on.
//
// Matrix descriptors and swizzles are decoded as the manual defines them (section "Asynchronous
// warpgroup level matrix shared memory layout"), fragments likewise. Not emulated: time, clusters,
// weak ordering of ordinary accesses beyond what the clocks find, and other layouts than rows of
// 128 bytes swizzled by 128.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <array>
#include <cmath>
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

#define __device__
#define __forceinline__ inline

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

inline float half_to_float(uint16_t h, bool is_bfloat16) {
  if (is_bfloat16) {
    const uint32_t bits = uint32_t(h) << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
  }
  const int exponent = h >> 10 & 31, mantissa = h & 1023;
  double x = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  if (exponent == 31) x = mantissa == 0 ? HUGE_VAL : NAN;
  return static_cast<float>(h >> 15 ? -x : x);
}

inline uint16_t half_from_float(float x, bool is_bfloat16) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  if (is_bfloat16) {
    if (x != x) return 0x7fff;
    return uint16_t((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
  }
  const uint16_t sign = bits >> 16 & 0x8000;
  if (x != x) return sign | 0x7fff;
  const double size = std::fabs(double(x));
  if (size >= 65520.0) return sign | 0x7c00;
  if (size < std::ldexp(1.0, -14)) return sign | uint16_t(std::nearbyint(std::ldexp(size, 24)));
  int exponent;
  const double mantissa = std::frexp(size, &exponent);  // in [0.5, 1)
  const int rounded = int(std::nearbyint(std::ldexp(mantissa, 11)));  // 1024 to 2048
  return sign | uint16_t((exponent + 13) * 1024 + rounded);
}

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

struct Descriptor {
  uint32_t start, leading, stride;
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

  // ---- products ----

  Descriptor decode(uint64_t descriptor) {
    if (descriptor >> 62 != 1) fail("a descriptor of another swizzle than 128 bytes");
    if (descriptor >> 49 & 7) fail("a descriptor with a base offset");
    const auto field = [&](int bit) { return uint32_t(descriptor >> bit & 0x3fff) << 4; };
    return {field(0), field(16), field(32)};
  }

  // Of element (mn, k), k running along the rows of 128 bytes.
  uint32_t k_major(const Descriptor& d, int mn, int k) {
    const uint32_t at = d.start + uint32_t(mn / 8) * d.stride + uint32_t(mn % 8 * 128 + k * 2);
    return at ^ (at >> 7 & 7) << 4;
  }
  // Likewise, mn running along them, 64 to a row.
  uint32_t mn_major(const Descriptor& d, int mn, int k) {
    const uint32_t at = d.start + uint32_t(mn / 64) * d.leading + uint32_t(mn % 64 * 2) +
                        uint32_t(k / 8) * d.stride + uint32_t(k % 8 * 128);
    return at ^ (at >> 7 & 7) << 4;
  }

  float number_at(uint32_t address, bool is_bfloat16) {
    uint16_t value;
    memcpy(&value, base + offset_of(address, 2), 2);
    return half_to_float(value, is_bfloat16);
  }

  void touched(Product& product) {
    std::vector<uint32_t> all;
    const auto add = [&](uint32_t address) {
      all.push_back(offset_of(address, 2) / kGranule);
    };
    const Descriptor b = decode(product.b);
    if (product.is_sum) {
      for (int k = 0; k < 16; ++k) {
        for (int n = 0; n < 256; n += 8) add(mn_major(b, n, k));
      }
    } else {
      const Descriptor a = decode(product.a);
      for (int k = 0; k < 16; k += 8) {
        for (int m = 0; m < 64; ++m) add(k_major(a, m, k)), add(k_major(b, m, k));
      }
    }
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    product.granules = all;
  }

  void issue(float* d, int size, uint64_t a, const Fragment* fragment, uint64_t b, bool adds,
             bool is_bfloat16) {
    step();
    Fiber& fiber = self();
    WarpGroup& group = groups[size_t(thread / 128)];
    const size_t member = size_t(thread % 128);
    if (!fiber.fenced) fail("a product without wgmma.fence after registers were touched");
    const bool is_new = fiber.issued == group.products.size();
    if (is_new) group.products.emplace_back();
    Product& product = group.products[fiber.issued++];
    if (is_new) {
      product.is_sum = fragment != nullptr;
      product.is_bfloat16 = is_bfloat16;
      product.adds = adds;
      product.a = a;
      product.b = b;
      touched(product);
    }
    if (product.is_sum != (fragment != nullptr) || product.a != a || product.b != b ||
        product.adds != adds) {
      fail("threads of a warp group start different products");
    }
    for (const uint32_t g : product.granules) {
      Granule& granule = granules[g];
      if (granule.on_its_way || !granule.written) fail("a product reads what is still copied");
      if (!seen(kEmulatedThreads + granule.barrier, granule.time)) {
        fail("a product reads what was copied without waiting for its barrier");
      }
      ++granule.reads_on_their_way;
    }
    float*& own = product.d[member];
    own = d;
    if (fragment != nullptr) {
      product.fragments[member] = fragment;
      product.values[member] = *fragment;
    }
    std::vector<float>& values = group.on_their_way[product.is_sum][member];
    if (values.empty()) {
      values.assign(d, d + size);
    } else {
      check_poison(d, size);
    }
    poison(d, size);
    ++product.issued;
  }

  static uint32_t poison_bits() { return 0x7fa5dead; }
  static void poison(float* d, int size) {
    const uint32_t bits = poison_bits();
    for (int i = 0; i < size; ++i) memcpy(d + i, &bits, 4);
  }
  static void check_poison(const float* d, int size) {
    for (int i = 0; i < size; ++i) {
      uint32_t bits;
      memcpy(&bits, d + i, 4);
      if (bits != poison_bits()) fail("registers of a product were written while it was running");
    }
  }

  void execute(WarpGroup& group) {
    Product& product = group.products[group.done];
    const Descriptor b = decode(product.b);
    const int columns = product.is_sum ? 256 : 64;
    std::vector<float> left(64 * 16), right(size_t(columns) * 16);
    for (int k = 0; k < 16; ++k) {
      for (int n = 0; n < columns; ++n) {
        const uint32_t at = product.is_sum ? mn_major(b, n, k) : k_major(b, n, k);
        right[size_t(n * 16 + k)] = number_at(at, product.is_bfloat16);
      }
    }
    if (product.is_sum) {
      for (int t = 0; t < 128; ++t) {
        const Fragment& f = product.values[size_t(t)];
        const uint32_t registers[4] = {f.x, f.y, f.z, f.w};
        for (int i = 0; i < 8; ++i) {
          const int row = t / 32 * 16 + t % 32 / 4 + (i / 2 % 2) * 8;
          const int k = t % 4 * 2 + i % 2 + (i / 4) * 8;
          const auto half = uint16_t(registers[i / 2] >> (i % 2 * 16));
          left[size_t(row * 16 + k)] = half_to_float(half, product.is_bfloat16);
        }
      }
    } else {
      const Descriptor a = decode(product.a);
      for (int m = 0; m < 64; ++m) {
        for (int k = 0; k < 16; ++k) {
          left[size_t(m * 16 + k)] = number_at(k_major(a, m, k), product.is_bfloat16);
        }
      }
    }
    for (int t = 0; t < 128; ++t) {
      for (int i = 0; i < columns / 2; ++i) {
        const int row = t / 32 * 16 + t % 32 / 4 + (i / 2 % 2) * 8;
        const int column = i / 4 * 8 + t % 4 * 2 + i % 2;
        float& d = group.on_their_way[product.is_sum][size_t(t)][size_t(i)];
        float sum = product.adds ? d : 0.0f;
        const float* x = &left[size_t(row * 16)];
        const float* y = &right[size_t(column * 16)];
        for (int k = 0; k < 16; ++k) sum += x[k] * y[k];
        d = sum;
      }
    }
    product.done = true;
    ++group.done;
  }

  void commit() {
    step();
    Fiber& fiber = self();
    fiber.committed = fiber.issued;
  }

  void wait_for_products() {
    step();
    Fiber& fiber = self();
    WarpGroup& group = groups[size_t(thread / 128)];
    if (fiber.committed != fiber.issued) fail("a wait for products that were not committed");
    const size_t wanted = fiber.committed;
    if (group.done < wanted) block_until([&group, wanted] { return group.done >= wanted; });
    const size_t member = size_t(thread % 128);
    for (; fiber.waited < wanted; ++fiber.waited) {
      const Product& product = group.products[fiber.waited];
      for (const uint32_t g : product.granules) {
        --granules[g].reads_on_their_way;
        granules[g].reads[size_t(thread)] = now();
      }
      if (product.is_sum &&
          memcmp(product.fragments[member], &product.values[member], sizeof(Fragment)) != 0) {
        fail("weights in registers changed while a product was running");
      }
      auto& values = group.on_their_way[product.is_sum][member];
      if (values.empty()) continue;  // several products to the same registers
      check_poison(product.d[member], int(values.size()));
      std::copy(values.begin(), values.end(), product.d[member]);
      values.clear();
    }
    fiber.fenced = false;
  }

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

// ---- the functions of cuda/hopper.h -------------------------------------------------------------

inline int thread_index() { return machine().thread; }
inline int block_x() { return machine().x; }
inline int block_y() { return machine().y; }

inline uint32_t shared_address(const void* place) {
  return uint32_t(static_cast<const unsigned char*>(place) - machine().base) + kSharedBegins;
}

template <class T>
void store_shared(T* place, const T& value) {
  machine().access(place, sizeof(T), true);
  *place = value;
}
template <class T>
T load_shared(const T* place) {
  machine().access(place, sizeof(T), false);
  return *place;
}
template <class T>
T load_constant(const T* place) {
  return *place;
}

inline float shuffle_xor(float value, int mask) {
  const int lane = thread_index() % 32;
  Meeting& warp = machine().warps[size_t(thread_index() / 32)];
  warp.values[size_t(lane)] = value;
  machine().meet(warp, 32, "shuffle", false);
  return warp.results[size_t(lane ^ mask)];
}
inline bool any_of_warp(bool value) {
  Meeting& warp = machine().warps[size_t(thread_index() / 32)];
  warp.values[size_t(thread_index() % 32)] = value ? 1.0f : 0.0f;
  machine().meet(warp, 32, "vote", false);
  return std::any_of(warp.results.begin(), warp.results.end(), [](float x) { return x != 0.0f; });
}
inline void sync_warp() {
  machine().meet(machine().warps[size_t(thread_index() / 32)], 32, "sync_warp", true);
}
inline void sync_block() { machine().meet(machine().block, kEmulatedThreads, "sync_block", true); }

template <int kCount>
void give_registers() {
  static_assert(kCount % 8 == 0 && kCount >= 24 && kCount <= 256, "what setmaxnreg takes");
  machine().self().registers = kCount;
}
template <int kCount>
void take_registers() {
  give_registers<kCount>();
}

inline float exp2_fast(float x) {
  const float y = std::exp2(x);
  return std::fabs(y) < 1.17549435e-38f ? 0.0f : y;  // ftz
}
template <bool kBFloat16>
uint32_t rounded_pair(float low, float high) {
  return uint32_t(half_from_float(low, kBFloat16)) |
         uint32_t(half_from_float(high, kBFloat16)) << 16;
}

template <bool kBFloat16>
float first_of(uint32_t pair) {
  return half_to_float(uint16_t(pair), kBFloat16);
}
template <bool kBFloat16>
float second_of(uint32_t pair) {
  return half_to_float(uint16_t(pair >> 16), kBFloat16);
}

inline void init_barrier(uint32_t address, uint32_t arrivals) {
  Machine& m = machine();
  if (address % 8 != 0) fail("a barrier that is not aligned to 8 bytes");
  Barrier barrier;
  barrier.number = int(m.barriers.size());
  barrier.count = barrier.pending = int(arrivals);
  barrier.maker = m.thread;
  if (barrier.number >= kMostBarriers) fail("too many barriers for the emulation");
  m.barriers[m.offset_of(address, 8)] = barrier;
}
inline void fence_barrier_init() {
  for (auto& [address, barrier] : machine().barriers) {
    (void)address;
    if (barrier.maker == machine().thread) barrier.time = machine().now();
  }
}
inline void arrive(uint32_t barrier) {
  machine().step();
  machine().arrive_at(barrier, 0);
}
inline void arrive_expecting(uint32_t barrier, uint32_t bytes) {
  machine().step();
  machine().arrive_at(barrier, bytes);
}
inline void wait_barrier(uint32_t address, int phase) {
  Machine& m = machine();
  m.step();
  Barrier& barrier = m.barrier_at(address);
  if (barrier.phase % 2 == phase % 2) {
    m.block_until([&barrier, phase] { return barrier.phase % 2 != phase % 2; });
  }
  if (barrier.phase != phase + 1) fail("a wait for another phase of its barrier than it means");
  m.self().clock.join(barrier.completed);
}

inline void wait_barrier_or_trap(uint32_t barrier, int phase) { wait_barrier(barrier, phase); }

inline void load_box(const TensorMap* map, uint32_t place, uint32_t barrier, int column, int row) {
  Machine& m = machine();
  m.step();
  const uint32_t offset = m.offset_of(place, 64 * 128);
  if (offset % kGranule != 0) fail("a copy to a place that is not aligned to 1,024 bytes");
  for (uint32_t g = 0; g < 8; ++g) {
    Granule& granule = m.granules[offset / kGranule + g];
    if (granule.on_its_way) fail("two copies to the same place");
    if (granule.written && !m.seen(kEmulatedThreads + granule.barrier, granule.time)) {
      fail("a copy to where the last one was not waited for");
    }
    if (granule.reads_on_their_way > 0) fail("a copy to what products still read");
    for (int t = 0; t < kEmulatedThreads; ++t) {
      if (!m.seen(t, granule.reads[size_t(t)])) {
        fail("a copy to what products have read, without a barrier between");
      }
    }
    granule.used = granule.on_its_way = true;
  }
  memset(m.base + offset, 0xff, 64 * 128);  // NaN until it is there
  m.copies.push_back({map, place, &m.barrier_at(barrier), column, row, m.self().clock});
  m.tick();
}

template <class T, size_t kCount>
void hold(T (&)[kCount]) {}

inline void begin_products() {
  machine().step();
  machine().self().fenced = true;
}
inline void commit_products() { machine().commit(); }
inline void wait_products() { machine().wait_for_products(); }

template <bool kBFloat16>
void multiply_rows(float (&d)[32], uint64_t a, uint64_t b, bool adds) {
  machine().issue(d, 32, a, nullptr, b, adds, kBFloat16);
}
template <bool kBFloat16>
void multiply_columns(float (&d)[128], const Fragment& a, uint64_t b) {
  machine().issue(d, 128, 0, &a, b, true, kBFloat16);
}

}  // namespace hopper
}  // namespace latentpath
