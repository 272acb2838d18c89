// path_smooth: Thomas' algorithm along t, on strips of columns.
//
// A strip's eliminated values stay in a scratch block that fits the caches (2 MB at T = 4,096), so
// memory is read once and written once; sweeps over whole rows would read and write everything
// twice.

#include "cpu/kernels.h"
#include "cpu/vec.h"

#include <cstdlib>

namespace latentpath {
namespace LATENTPATH_ISA {
namespace {

constexpr int kStrip = 128;           // columns per strip: 512 bytes of every row
constexpr int64_t kFetchAhead = 12;   // rows that are prefetched ahead; their stride defeats the
                                      // hardware's prefetcher, which stops at page borders

// One strip of `kWidth` columns whose first interior value is at `rhs`, rows `stride` apart.
template <int kWidth>
LATENTPATH_INLINE void smooth_strip(float* rhs, int64_t interior, int64_t stride, float alpha,
                                    const float* inverse_pivots, bool zero_ends, bool past_caches,
                                    float* scratch) {
  float carried[kWidth];
  for (int d = 0; d < kWidth; ++d) carried[d] = zero_ends ? 0.0f : rhs[d - stride];
  const float* last = rhs + interior * stride;
  for (int64_t t = 0; t < interior; ++t) {
    const float* row = rhs + t * stride;
    for (int d = 0; d < kWidth; d += 16) __builtin_prefetch(row + kFetchAhead * stride + d);
    float* out = scratch + t * kWidth;
    const float inverse = inverse_pivots[t];
    const bool closes = t == interior - 1 && !zero_ends;
    for (int d = 0; d < kWidth; ++d) {
      const float value = closes ? row[d] + alpha * last[d] : row[d];
      carried[d] = eliminate(value, carried[d], alpha, inverse);
      out[d] = carried[d];
    }
  }
  for (int d = 0; d < kWidth; ++d) carried[d] = 0.0f;
  for (int64_t t = interior - 1; t >= 0; --t) {
    float* row = rhs + t * stride;
    const float* eliminated = scratch + t * kWidth;
    const float inverse = inverse_pivots[t];
    for (int d = 0; d < kWidth; ++d) {
      carried[d] = substitute(eliminated[d], carried[d], alpha, inverse);
    }
    if (past_caches && kWidth % kLanes == 0) {
      for (int d = 0; d + kLanes <= kWidth; d += kLanes) {
        store_past_caches(row + d, load(carried + d));
      }
    } else {
      for (int d = 0; d < kWidth; ++d) row[d] = carried[d];
    }
  }
}

}  // namespace

void path_smooth(const PathSmoothArgs& args) {
  const int64_t interior = args.points - 2, width = args.width;
  const int64_t strips = (width + kStrip - 1) / kStrip, tasks = args.batch * strips;
  const bool aligned = uintptr_t(args.rhs) % sizeof(vfloat) == 0 && width % kLanes == 0;

#pragma omp parallel num_threads(args.threads)
  {
    float* scratch = static_cast<float*>(aligned_alloc(64, size_t(interior) * kStrip * 4));
#pragma omp for schedule(static)
    for (int64_t task = 0; task < tasks; ++task) {
      const int64_t b = task / strips, column = task % strips * kStrip;
      float* rhs = args.rhs + (b * args.points + 1) * width + column;
      int64_t left = width - column < kStrip ? width - column : kStrip;
      if (left == kStrip) {
        smooth_strip<kStrip>(rhs, interior, width, args.alpha, args.inverse_pivots, args.zero_ends,
                             aligned, scratch);
        continue;
      }
      for (; left >= 16; left -= 16, rhs += 16) {
        smooth_strip<16>(rhs, interior, width, args.alpha, args.inverse_pivots, args.zero_ends,
                         aligned, scratch);
      }
      for (; left > 0; --left, ++rhs) {
        smooth_strip<1>(rhs, interior, width, args.alpha, args.inverse_pivots, args.zero_ends,
                        false, scratch);
      }
    }
    finish_stores_past_caches();
    free(scratch);
  }
}

}  // namespace LATENTPATH_ISA
}  // namespace latentpath
