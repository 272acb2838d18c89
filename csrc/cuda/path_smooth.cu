// path_smooth on the GPU: Thomas' algorithm, a thread per column, or per segment of a long one.
//
// The recurrence along t is serial, its loads are not: they do not depend on it, so they are
// issued kAhead points early. What a point has to do with another one falls off with their
// distance: a segment begins `lead` points outside of itself, where float32 does not see what it
// begins with (ops/path_smooth.py). A path that is one segment is solved in place, in one launch:
// the second sweep starts where the first one ended and finds the recent part in the second-level
// cache. Segments write elsewhere, since others still read what was there.

#include "cuda/check.h"
#include "cuda/launch.h"
#include "path_math.h"

namespace latentpath {
namespace cuda {
namespace {

constexpr int kThreads = 64;
constexpr int kAhead = 16;  // values in flight per thread

// What is the same for all columns.
struct Paths {
  const float* inverse_pivots;  // [T-2]
  int64_t columns, interior, width;
  float alpha;
  bool zero_ends;
};

// The first interior point of a column, from the start of rhs [B, T, D].
__device__ __forceinline__ int64_t first_point(const Paths& paths, int64_t column) {
  return (column / paths.width * (paths.interior + 2) + 1) * paths.width + column % paths.width;
}

// One sweep over `count` points of a column from `start` on, up or down; the first `lead` of them
// are computed for the others' sake and not kept. `in` and `out` are the first interior points.
template <bool kForward>
__device__ __forceinline__ void sweep(const float* in, float* out, const Paths& paths,
                                      int64_t start, int64_t count, int64_t lead) {
  const int64_t interior = paths.interior, width = paths.width;
  const bool has_ends = kForward && !paths.zero_ends;
  const float last = has_ends ? in[interior * width] : 0.0f;
  float carried = has_ends && start == 0 ? in[-width] : 0.0f;
  for (int64_t i0 = 0; i0 < count; i0 += kAhead) {
    float values[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int64_t t = kForward ? start + (i0 + i) : start - (i0 + i);
      values[i] = i0 + i < count ? in[t * width] : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int64_t t = kForward ? start + (i0 + i) : start - (i0 + i);
      if (i0 + i < count) {
        const float inverse = paths.inverse_pivots[t];
        if (kForward) {
          const float value = t == interior - 1 ? values[i] + paths.alpha * last : values[i];
          carried = eliminate(value, carried, paths.alpha, inverse);
        } else {
          carried = substitute(values[i], carried, paths.alpha, inverse);
        }
        if (i0 + i >= lead) out[t * width] = carried;
      }
    }
  }
}

__global__ void __launch_bounds__(kThreads) smooth_columns(float* rhs, Paths paths) {
  const int64_t column = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (column >= paths.columns) return;
  float* x = rhs + first_point(paths, column);
  sweep<true>(x, x, paths, 0, paths.interior, 0);
  sweep<false>(x, x, paths, paths.interior - 1, paths.interior, 0);
}

// One sweep of one segment of every column, from `in` to `out`, both [B, T, D].
template <bool kForward>
__global__ void __launch_bounds__(kThreads)
    sweep_segments(const float* in, float* out, Paths paths, Segments segments, int64_t blocks) {
  const int64_t column = blockIdx.x % blocks * kThreads + threadIdx.x;
  if (column >= paths.columns) return;
  const int64_t begin = blockIdx.x / blocks * segments.length, interior = paths.interior;
  const int64_t end = begin + segments.length < interior ? begin + segments.length : interior;
  const int64_t at = first_point(paths, column);
  if (kForward) {
    const int64_t start = begin > segments.lead ? begin - segments.lead : 0;
    sweep<true>(in + at, out + at, paths, start, end - start, begin - start);
  } else {
    const int64_t stop = end + segments.lead < interior ? end + segments.lead : interior;
    sweep<false>(in + at, out + at, paths, stop - 1, stop - begin, stop - end);
  }
}

}  // namespace

void path_smooth(const PathSmoothArgs& args, const Segments& segments, void* stream) {
  const int64_t columns = args.batch * args.width, interior = args.points - 2;
  if (columns == 0) return;
  const Paths paths{args.inverse_pivots, columns, interior, args.width, args.alpha, args.zero_ends};
  const int64_t blocks = (columns + kThreads - 1) / kThreads;
  const auto on = static_cast<cudaStream_t>(stream);
  if (segments.length >= interior) {
    smooth_columns<<<static_cast<unsigned>(blocks), kThreads, 0, on>>>(args.rhs, paths);
    return check_launch("smooth_columns");
  }
  const int64_t count = (interior + segments.length - 1) / segments.length;
  const auto grid = static_cast<unsigned>(blocks * count);
  sweep_segments<true><<<grid, kThreads, 0, on>>>(args.rhs, segments.between, paths, segments,
                                                  blocks);
  sweep_segments<false><<<grid, kThreads, 0, on>>>(segments.between, args.rhs, paths, segments,
                                                   blocks);
  check_launch("sweep_segments");
}

}  // namespace cuda
}  // namespace latentpath
