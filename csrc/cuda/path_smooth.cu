// path_smooth on the GPU: Thomas' algorithm, a thread per column.
//
// The recurrence along t is serial, its loads are not: they do not depend on it, so they are
// issued kAhead points early. Every value is read and written twice, once per sweep; the second
// sweep starts where the first one ended and finds the recent part in the second-level cache.

#include "cuda/check.h"
#include "cuda/launch.h"
#include "path_math.h"

namespace latentpath {
namespace cuda {
namespace {

constexpr int kThreads = 64;
constexpr int kAhead = 16;  // values in flight per thread

__global__ void __launch_bounds__(kThreads)
    smooth_columns(float* __restrict__ rhs,                   // [B, T, D]
                   const float* __restrict__ inverse_pivots,  // [T-2]
                   int64_t batch, int64_t points, int64_t width, float alpha, bool zero_ends) {
  const int64_t column = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (column >= batch * width) return;
  const int64_t interior = points - 2, b = column / width, d = column % width;
  float* x = rhs + (b * points + 1) * width + d;  // this column's first interior point
  const float last = zero_ends ? 0.0f : x[interior * width];
  float carried = zero_ends ? 0.0f : x[-width];

  for (int64_t t0 = 0; t0 < interior; t0 += kAhead) {
    float values[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      values[i] = t0 + i < interior ? x[(t0 + i) * width] : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int64_t t = t0 + i;
      if (t < interior) {
        const float value = t == interior - 1 ? values[i] + alpha * last : values[i];
        carried = eliminate(value, carried, alpha, inverse_pivots[t]);
        x[t * width] = carried;
      }
    }
  }
  carried = 0.0f;
  for (int64_t t0 = interior - 1; t0 >= 0; t0 -= kAhead) {
    float values[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) values[i] = t0 - i >= 0 ? x[(t0 - i) * width] : 0.0f;
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int64_t t = t0 - i;
      if (t >= 0) {
        carried = substitute(values[i], carried, alpha, inverse_pivots[t]);
        x[t * width] = carried;
      }
    }
  }
}

}  // namespace

void path_smooth(const PathSmoothArgs& args, void* stream) {
  const int64_t columns = args.batch * args.width;
  if (columns == 0) return;
  const unsigned blocks = static_cast<unsigned>((columns + kThreads - 1) / kThreads);
  smooth_columns<<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      args.rhs, args.inverse_pivots, args.batch, args.points, args.width, args.alpha,
      args.zero_ends);
  check_launch("smooth_columns");
}

}  // namespace cuda
}  // namespace latentpath
