// The instructions of Hopper (sm_90a) that its kernels are made of, each as one small function.
//
// What they do stands in NVIDIA's manual "Parallel Thread Execution ISA": mbarrier,
// cp.async.bulk.tensor, wgmma (asynchronous warpgroup level matrix instructions), setmaxnreg.
// csrc/tests/hopper_emulation.h has the same functions for processors and checks the manual's
// rules, so that a kernel written with them alone also runs in a test. Addresses of shared memory
// are 32-bit numbers, as the instructions take them.
#pragma once

#include <cuda.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace latentpath {
namespace hopper {

using TensorMap = CUtensorMap;
using Fragment = uint4;  // a thread's share of a [64, 16] matrix of 16-bit numbers

__device__ __forceinline__ int thread_index() { return static_cast<int>(threadIdx.x); }
__device__ __forceinline__ int block_x() { return static_cast<int>(blockIdx.x); }
__device__ __forceinline__ int block_y() { return static_cast<int>(blockIdx.y); }

__device__ __forceinline__ uint32_t shared_address(const void* place) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(place));
}

// Ordinary accesses to shared memory, which the emulation watches.
template <class T>
__device__ __forceinline__ void store_shared(T* place, const T& value) {
  *place = value;
}
template <class T>
__device__ __forceinline__ T load_shared(const T* place) {
  return *place;
}
template <class T>
__device__ __forceinline__ T load_constant(const T* place) {
  return __ldg(place);
}

// ---- a warp, a block ----------------------------------------------------------------------------

__device__ __forceinline__ float shuffle_xor(float value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
__device__ __forceinline__ bool any_of_warp(bool value) { return __any_sync(0xffffffffu, value); }
__device__ __forceinline__ void sync_warp() { __syncwarp(); }
__device__ __forceinline__ void sync_block() { __syncthreads(); }

// All warps of a warp group call these: registers a thread, fewer or more than at the launch.
template <int kCount>
__device__ __forceinline__ void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kCount>
__device__ __forceinline__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}

// ---- numbers ------------------------------------------------------------------------------------

__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Two numbers rounded to 16 bits, the first one in the lower half.
template <bool kBFloat16>
__device__ __forceinline__ uint32_t rounded_pair(float low, float high) {
  uint32_t pair;
  if (kBFloat16) {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  }
  return pair;
}

template <bool kBFloat16>
__device__ __forceinline__ float first_of(uint32_t pair) {
  return kBFloat16 ? __uint_as_float(pair << 16)
                   : __half2float(__ushort_as_half(static_cast<unsigned short>(pair)));
}
template <bool kBFloat16>
__device__ __forceinline__ float second_of(uint32_t pair) {
  return kBFloat16 ? __uint_as_float(pair & 0xffff0000u)
                   : __half2float(__ushort_as_half(static_cast<unsigned short>(pair >> 16)));
}

// ---- barriers in shared memory ------------------------------------------------------------------

// Phases are counted from 0; a phase ends with so many arrivals and all bytes that they expect.
__device__ __forceinline__ void init_barrier(uint32_t barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

// Before others, and the copies, use barriers that this thread has made; a sync_block() follows.
__device__ __forceinline__ void fence_barrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ __forceinline__ void arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// Arrives, and lets the phase end no earlier than so many bytes have come.
__device__ __forceinline__ void arrive_expecting(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 _, [%0], %1;" ::"r"(barrier),
               "r"(bytes)
               : "memory");
}

__device__ __forceinline__ uint64_t nanoseconds() {
  uint64_t now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
}

__device__ __forceinline__ bool try_barrier(uint32_t barrier, uint32_t parity) {
  uint32_t done;
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 done, [%1], %2;\n"
      "selp.u32 %0, 1, 0, done;\n"
      "}\n"
      : "=r"(done)
      : "r"(barrier), "r"(parity)
      : "memory");
  return done != 0;
}

// Waits until the phase of this number's parity has ended.
__device__ __forceinline__ void wait_barrier(uint32_t barrier, int phase) {
  while (!try_barrier(barrier, static_cast<uint32_t>(phase & 1))) {
  }
}

// Likewise for at most 20 seconds: an error is better than a GPU that hangs. Takes registers that
// threads with sums do not have.
__device__ __forceinline__ void wait_barrier_or_trap(uint32_t barrier, int phase) {
  const uint64_t begun = nanoseconds();
  while (!try_barrier(barrier, static_cast<uint32_t>(phase & 1))) {
    if (nanoseconds() - begun > 20'000'000'000u) __trap();
  }
}

// ---- copies by the tensor memory accelerator ----------------------------------------------------

// Copies the map's box that begins at (column, row) to `place`; what lies outside of the tensor is
// 0 and counts. Its bytes arrive at the barrier.
__device__ __forceinline__ void load_box(const TensorMap* map, uint32_t place, uint32_t barrier,
                                         int column, int row) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4}], [%2];" ::"r"(place),
      "l"(map), "r"(barrier), "r"(column), "r"(row)
      : "memory");
}

// ---- products of a warp group -------------------------------------------------------------------

// Registers that a product reads or writes may not be touched from its start until it was waited
// for; these keep the compiler from moving other uses of them across.
template <int kCount>
__device__ __forceinline__ void hold(float (&values)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(values[i])::"memory");
}
template <int kCount>
__device__ __forceinline__ void hold(Fragment (&values)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    asm volatile("" : "+r"(values[i].x), "+r"(values[i].y), "+r"(values[i].z), "+r"(values[i].w)
                 ::"memory");
  }
}

__device__ __forceinline__ void begin_products() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void commit_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Waits for all that were committed.
__device__ __forceinline__ void wait_products() {
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
}

#define LATENTPATH_4(d, i) "+f"(d[i]), "+f"(d[(i) + 1]), "+f"(d[(i) + 2]), "+f"(d[(i) + 3])
#define LATENTPATH_16(d, i)                                                               \
  LATENTPATH_4(d, i), LATENTPATH_4(d, (i) + 4), LATENTPATH_4(d, (i) + 8), LATENTPATH_4(d, (i) + 12)
#define LATENTPATH_64(d, i)                                                               \
  LATENTPATH_16(d, i), LATENTPATH_16(d, (i) + 16), LATENTPATH_16(d, (i) + 32),            \
      LATENTPATH_16(d, (i) + 48)

#define LATENTPATH_64x64x16(type)                                                         \
  asm volatile(                                                                           \
      "{\n"                                                                               \
      ".reg .pred adds;\n"                                                                \
      "setp.ne.b32 adds, %34, 0;\n"                                                       \
      "wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type "\n"                    \
      "{"                                                                                 \
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15,"             \
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"    \
      "}, %32, %33, adds, 1, 1, 0, 0;\n"                                                  \
      "}\n"                                                                               \
      : LATENTPATH_16(d, 0), LATENTPATH_16(d, 16)                                         \
      : "l"(a), "l"(b), "r"(int(adds)))

#define LATENTPATH_64x256x16(type)                                                        \
  asm volatile(                                                                           \
      "wgmma.mma_async.sync.aligned.m64n256k16.f32." type "." type "\n"                   \
      "{"                                                                                 \
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11,"                                 \
      "%12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23,"                       \
      "%24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35,"                       \
      "%36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47,"                       \
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59,"                       \
      "%60, %61, %62, %63, %64, %65, %66, %67, %68, %69, %70, %71,"                       \
      "%72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83,"                       \
      "%84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95,"                       \
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107,"               \
      "%108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119,"           \
      "%120, %121, %122, %123, %124, %125, %126, %127"                                    \
      "}, {%128, %129, %130, %131}, %132, 1, 1, 1, 1;\n"                                  \
      : LATENTPATH_64(d, 0), LATENTPATH_64(d, 64)                                         \
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "l"(b))

// d [64, 64] (+)= a [64, 16] b [64, 16]^T, both in shared memory, row by row (K-major).
template <bool kBFloat16>
__device__ __forceinline__ void multiply_rows(float (&d)[32], uint64_t a, uint64_t b, bool adds) {
  if (kBFloat16) {
    LATENTPATH_64x64x16("bf16");
  } else {
    LATENTPATH_64x64x16("f16");
  }
}

// d [64, 256] += a [64, 16] b [16, 256], a in registers, b in shared memory, row by row (N-major).
template <bool kBFloat16>
__device__ __forceinline__ void multiply_columns(float (&d)[128], const Fragment& a, uint64_t b) {
  if (kBFloat16) {
    LATENTPATH_64x256x16("bf16");
  } else {
    LATENTPATH_64x256x16("f16");
  }
}

#undef LATENTPATH_64x256x16
#undef LATENTPATH_64x64x16
#undef LATENTPATH_64
#undef LATENTPATH_16
#undef LATENTPATH_4

}  // namespace hopper
}  // namespace latentpath
