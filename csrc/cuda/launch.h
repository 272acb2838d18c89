// The CUDA kernels as host functions; `stream` is a cudaStream_t.
#pragma once

#include "cpu/kernels.h"

namespace latentpath {
namespace cuda {

// Raise std::runtime_error with CUDA's message where a launch fails.
void path_step(const PathStepArgs& args, void* stream);
void path_smooth(const PathSmoothArgs& args, void* stream);

}  // namespace cuda
}  // namespace latentpath
