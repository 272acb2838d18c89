// CUDA's error codes as exceptions, which pybind11 turns into Python's RuntimeError.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace latentpath {
namespace cuda {

inline void check_launch(const char* kernel) {
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess) {
    throw std::runtime_error(std::string("latentpath: CUDA kernel ") + kernel + ": " +
                             cudaGetErrorString(error));
  }
}

}  // namespace cuda
}  // namespace latentpath
