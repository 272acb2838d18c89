// path_step: smoothness energy and gradient, guide, Adam moments and update in one pass.
//
// A task is one chunk of a path's interior points. A point's gradient needs its neighbours as they
// were before the step: inside a chunk the old row is kept while the next one is worked on; the
// rows just outside a chunk, which another thread may be updating, are copied before it all starts.

#include "cpu/kernels.h"
#include "cpu/pages.h"
#include "path_math.h"

#include <cstdlib>
#include <cstring>

namespace latentpath {
namespace LATENTPATH_ISA {
namespace {

struct StepSums {
  float energy, grad_norm_sq;
};

// One point's row: `before` holds the old row before it and is replaced by its own old values.
template <bool kGuided>
LATENTPATH_INLINE StepSums step_row(float* __restrict before, float* __restrict row,
                                   const float* __restrict after, const float* __restrict guide,
                                   float* __restrict exp_avg, float* __restrict exp_avg_sq,
                                   int64_t width, const StepScalars& scalars) {
  const StepScalars s = scalars;
  float energy = 0.0f, grad_norm_sq = 0.0f;
#pragma omp simd reduction(+ : energy, grad_norm_sq)
  for (int64_t d = 0; d < width; ++d) {
    const float here = row[d];
    const float difference = here - before[d];
    float gradient = smoothness_gradient(before[d], here, after[d], s.smooth_weight);
    if (kGuided) gradient += s.guide_weight * guide[d];
    const SteppedPoint next = adam_step(here, gradient, exp_avg[d], exp_avg_sq[d], s);
    energy += difference * difference;
    grad_norm_sq += gradient * gradient;
    before[d] = here;
    row[d] = next.position;
    exp_avg[d] = next.first_moment;
    exp_avg_sq[d] = next.second_moment;
  }
  return {energy, grad_norm_sq};
}

LATENTPATH_INLINE float squared_distance(const float* a, const float* b, int64_t width) {
  float total = 0.0f;
#pragma omp simd reduction(+ : total)
  for (int64_t d = 0; d < width; ++d) total += (a[d] - b[d]) * (a[d] - b[d]);
  return total;
}

template <bool kGuided>
void step_chunk(const PathStepArgs& args, int64_t b, int64_t chunk, float* before) {
  const int64_t interior = args.points - 2, width = args.width;
  const int64_t chunks = path_step_chunks(args.points);
  const int64_t begin = chunk * kStepChunk;
  const int64_t end = begin + kStepChunk < interior ? begin + kStepChunk : interior;
  float* path = args.path + (b * args.points + 1) * width;  // the first interior point
  const float* border = args.borders + (b * chunks + chunk) * 2 * width;
  const StepScalars scalars =
      step_scalars(args.smooth_weight, args.guide_weight, args.beta1, args.beta2, args.eps,
                   args.lr[b], double(args.step[b] + 1));
  double energy = 0.0, grad_norm_sq = 0.0;
  memcpy(before, border, size_t(width) * sizeof(float));
  for (int64_t t = begin; t < end; ++t) {
    float* row = path + t * width;
    const float* after = t + 1 < end ? row + width : border + width;
    const int64_t at = (b * interior + t) * width;
    const float* guide = kGuided ? args.guide + at : nullptr;
    const StepSums sums = step_row<kGuided>(before, row, after, guide, args.exp_avg + at,
                                           args.exp_avg_sq + at, width, scalars);
    energy += sums.energy;
    grad_norm_sq += sums.grad_norm_sq;
  }
  // A chunk counts the distances to the points before its own; the last one closes the path.
  if (end == interior) energy += squared_distance(before, border + width, width);
  args.sums[b * chunks + chunk] = energy;
  args.sums[(args.batch + b) * chunks + chunk] = grad_norm_sq;
}

}  // namespace

void path_step(const PathStepArgs& args) {
  const int64_t chunks = path_step_chunks(args.points), tasks = args.batch * chunks;
  const int64_t interior = args.points - 2, width = args.width;
  const size_t row_bytes = size_t(width) * sizeof(float);

#pragma omp parallel num_threads(args.threads)
  {
    float* before = static_cast<float*>(malloc(row_bytes));
#pragma omp for schedule(static)
    for (int64_t task = 0; task < tasks; ++task) {
      const int64_t b = task / chunks, begin = task % chunks * kStepChunk;
      const int64_t end = begin + kStepChunk < interior ? begin + kStepChunk : interior;
      const float* path = args.path + b * args.points * width;
      memcpy(args.borders + task * 2 * width, path + begin * width, row_bytes);
      memcpy(args.borders + (task * 2 + 1) * width, path + (end + 1) * width, row_bytes);
    }  // all threads wait here: from now on rows change
#pragma omp for schedule(static)
    for (int64_t task = 0; task < tasks; ++task) {
      const int64_t b = task / chunks, chunk = task % chunks;
      if (args.mask && !args.mask[b]) {
        args.sums[task] = args.sums[tasks + task] = 0.0;
      } else if (args.guide) {
        step_chunk<true>(args, b, chunk, before);
      } else {
        step_chunk<false>(args, b, chunk, before);
      }
    }
    free(before);
  }
  for (int64_t b = 0; b < args.batch; ++b) {
    if (!args.mask || args.mask[b]) ++args.step[b];
  }
}

}  // namespace LATENTPATH_ISA
}  // namespace latentpath
