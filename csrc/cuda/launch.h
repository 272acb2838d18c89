// The CUDA kernels as host functions; `stream` is a cudaStream_t.
#pragma once

#include "cpu/kernels.h"

namespace latentpath {
namespace cuda {

// How long paths are cut: into pieces of `length` points, each of which begins `lead` points outside
// of itself. Pieces shorter than the path need a buffer like rhs, [B, T, D], between the sweeps.
struct Segments {
  float* between;
  int64_t length, lead;
};

// Raise std::runtime_error with CUDA's message where a launch fails.
void path_step(const PathStepArgs& args, void* stream);
void path_smooth(const PathSmoothArgs& args, const Segments& segments, void* stream);

}  // namespace cuda
}  // namespace latentpath
