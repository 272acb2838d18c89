// path_step on the GPU: three small launches, one of which does all the work.
//
// As on the CPU, a task is a chunk of a path's interior points, here times a strip of columns. A
// thread owns kVector neighbouring columns and walks along t with the old left neighbour in
// registers, so every value is read once and written once, in 16-byte accesses that a warp makes
// side by side. Rows just outside a chunk are copied first. Sums go to memory per task and are
// added in a fixed order: no atomics, the same bits every time.

#include "cuda/check.h"
#include "cuda/launch.h"
#include "path_math.h"

namespace latentpath {
namespace cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kBlocksPerProcessor = 5;  // leaves 102 registers per thread: nothing is spilled

// kVector consecutive floats that move as one access.
template <int kVector>
struct alignas(4 * kVector) Columns {
  float x[kVector];
};

// borders[b, chunk] = the old rows before and after the chunk.
__global__ void copy_borders(const float* __restrict__ path,  // [B, T, D]
                             float* __restrict__ borders,     // [B, chunks, 2, D]
                             int64_t points, int64_t width, int64_t chunks) {
  const int64_t interior = points - 2, chunk = blockIdx.x, b = blockIdx.y;
  const int64_t begin = chunk * kStepChunk;
  const int64_t end = begin + kStepChunk < interior ? begin + kStepChunk : interior;
  const float* from = path + b * points * width;
  float* to = borders + (b * chunks + chunk) * 2 * width;
  for (int64_t d = threadIdx.x; d < width; d += blockDim.x) {
    to[d] = from[begin * width + d];
    to[width + d] = from[(end + 1) * width + d];
  }
}

// The sum over the block, in thread 0; always in the same order.
__device__ double block_sum(double value) {
  __shared__ double warps[kThreads / 32];
  for (int offset = 16; offset > 0; offset /= 2) {
    value += __shfl_down_sync(0xffffffffu, value, offset);
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
  __syncthreads();
  double total = 0.0;
  for (int w = 0; w < kThreads / 32; ++w) total += warps[w];
  return total;
}

template <int kVector, bool kGuided>
__global__ void __launch_bounds__(kThreads, kBlocksPerProcessor)
    step_chunks(PathStepArgs args, int64_t chunks) {
  using Vector = Columns<kVector>;
  const int64_t interior = args.points - 2, width = args.width;
  const int64_t chunk = blockIdx.x, b = blockIdx.y;
  const int64_t begin = chunk * kStepChunk;
  const int64_t end = begin + kStepChunk < interior ? begin + kStepChunk : interior;
  const int64_t task = b * chunks + chunk;
  if (args.mask && !args.mask[b]) {
    if (threadIdx.x == 0) args.sums[task] = args.sums[args.batch * chunks + task] = 0.0;
    return;
  }
  __shared__ StepScalars shared_scalars;  // two double powers: one thread's work
  if (threadIdx.x == 0) {
    shared_scalars =
        step_scalars(args.smooth_weight, args.guide_weight, args.beta1, args.beta2, args.eps,
                     args.lr[b], static_cast<double>(args.step[b] + 1));
  }
  __syncthreads();
  const StepScalars scalars = shared_scalars;
  const float* border = args.borders + task * 2 * width;
  double energy = 0.0, grad_norm_sq = 0.0;

  for (int64_t d = threadIdx.x * kVector; d < width; d += kThreads * kVector) {
    float* row = args.path + (b * args.points + 1 + begin) * width + d;
    const int64_t first = (b * interior + begin) * width + d;
    Vector before = *reinterpret_cast<const Vector*>(border + d);
    Vector here = *reinterpret_cast<const Vector*>(row);
    float energy_here = 0.0f, norm_here = 0.0f;  // over at most kStepChunk points
    for (int64_t t = begin; t < end; ++t, row += width) {
      const int64_t at = first + (t - begin) * width;
      const Vector after = *reinterpret_cast<const Vector*>(t + 1 < end ? row + width
                                                                        : border + width + d);
      Vector first_moment = *reinterpret_cast<const Vector*>(args.exp_avg + at);
      Vector second_moment = *reinterpret_cast<const Vector*>(args.exp_avg_sq + at);
      Vector guide = {}, moved;
      if (kGuided) guide = *reinterpret_cast<const Vector*>(args.guide + at);
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        const float difference = here.x[i] - before.x[i];
        float gradient =
            smoothness_gradient(before.x[i], here.x[i], after.x[i], scalars.smooth_weight);
        if (kGuided) gradient += scalars.guide_weight * guide.x[i];
        const SteppedPoint next =
            adam_step(here.x[i], gradient, first_moment.x[i], second_moment.x[i], scalars);
        energy_here += difference * difference;
        norm_here += gradient * gradient;
        moved.x[i] = next.position;
        first_moment.x[i] = next.first_moment;
        second_moment.x[i] = next.second_moment;
      }
      *reinterpret_cast<Vector*>(row) = moved;
      *reinterpret_cast<Vector*>(args.exp_avg + at) = first_moment;
      *reinterpret_cast<Vector*>(args.exp_avg_sq + at) = second_moment;
      before = here;
      here = after;
    }
    if (end == interior) {  // the distance to the fixed end, which is `here` now
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        const float difference = here.x[i] - before.x[i];
        energy_here += difference * difference;
      }
    }
    energy += energy_here;
    grad_norm_sq += norm_here;
  }
  energy = block_sum(energy);
  grad_norm_sq = block_sum(grad_norm_sq);
  if (threadIdx.x == 0) {
    args.sums[task] = energy;
    args.sums[args.batch * chunks + task] = grad_norm_sq;
  }
}

__global__ void count_steps(int64_t* step, const bool* mask, int64_t batch) {
  const int64_t b = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (b < batch && (!mask || mask[b])) ++step[b];
}

template <int kVector>
void launch_chunks(const PathStepArgs& args, int64_t chunks, dim3 grid, cudaStream_t stream) {
  if (args.guide) {
    step_chunks<kVector, true><<<grid, kThreads, 0, stream>>>(args, chunks);
  } else {
    step_chunks<kVector, false><<<grid, kThreads, 0, stream>>>(args, chunks);
  }
}

bool aligned_to_16(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

}  // namespace

void path_step(const PathStepArgs& args, void* handle) {
  if (args.batch == 0) return;
  const cudaStream_t stream = static_cast<cudaStream_t>(handle);
  const int64_t chunks = path_step_chunks(args.points);
  const bool vectors = args.width % 4 == 0 && aligned_to_16(args.path) &&
                       aligned_to_16(args.guide) && aligned_to_16(args.exp_avg) &&
                       aligned_to_16(args.exp_avg_sq) && aligned_to_16(args.borders);
  // Paths lie along grid.y, which has 65,535 places; more go in several rounds.
  constexpr int64_t kMostPaths = 65535;
  for (int64_t begin = 0; begin < args.batch; begin += kMostPaths) {
    const int64_t paths = args.batch - begin < kMostPaths ? args.batch - begin : kMostPaths;
    const int64_t rows = begin * args.points, inner = begin * (args.points - 2);
    PathStepArgs part = args;
    part.path += rows * args.width;
    part.guide = args.guide ? args.guide + inner * args.width : nullptr;
    part.exp_avg += inner * args.width;
    part.exp_avg_sq += inner * args.width;
    part.step += begin;
    part.lr += begin;
    part.mask = args.mask ? args.mask + begin : nullptr;
    part.sums += begin * chunks;  // the second half stays args.batch * chunks behind the first
    part.borders += begin * chunks * 2 * args.width;
    const dim3 grid(static_cast<unsigned>(chunks), static_cast<unsigned>(paths));
    copy_borders<<<grid, kThreads, 0, stream>>>(part.path, part.borders, args.points, args.width,
                                                chunks);
    check_launch("copy_borders");
    if (vectors) {
      launch_chunks<4>(part, chunks, grid, stream);
    } else {
      launch_chunks<1>(part, chunks, grid, stream);
    }
    check_launch("step_chunks");
  }
  const unsigned blocks = static_cast<unsigned>((args.batch + 255) / 256);
  count_steps<<<blocks, 256, 0, stream>>>(args.step, args.mask, args.batch);
  check_launch("count_steps");
}

}  // namespace cuda
}  // namespace latentpath
