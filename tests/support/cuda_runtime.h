// What a CUDA source without shared memory needs to be compiled by a C++ compiler and to run on the
// processor, thread after thread: for tests of its arithmetic (tests/ops/test_cuda_on_processor.py).
#pragma once

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct Place {
  unsigned x, y, z;
};
static Place blockIdx, threadIdx;

using cudaStream_t = void*;
using cudaError_t = int;
constexpr cudaError_t cudaSuccess = 0;
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t) { return ""; }

// What `kernel<<<grid, threads, shared, stream>>>(...)` is rewritten to.
template <typename Kernel>
auto launched(Kernel kernel, unsigned grid, unsigned threads, int, cudaStream_t) {
  return [=](auto... arguments) {
    for (blockIdx.x = 0; blockIdx.x < grid; ++blockIdx.x) {
      for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x) kernel(arguments...);
    }
  };
}
