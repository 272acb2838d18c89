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

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "tests/half_numbers.h"
#include "tests/hopper_machine.h"
#include "tests/hopper_products.h"

#define __device__
#define __forceinline__ inline

namespace latentpath {
namespace hopper {

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
