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

// For half precision and D = 512 on GPUs of compute capability 9.0; `query` and `bank` have the same
// dtype and are aligned to 16 bytes.
struct BankLseSm90Args {
  const void* query;  // [M, 512]
  const void* bank;   // [N, 512]
  const float* bias;  // [N] or null
  DType dtype;
  int64_t rows, bank_rows;  // M, N below 2^31
  int64_t part;             // rows of the bank that a block runs over, a multiple of 128
  float scale;
  float* lse;        // [M]
  float* mean;       // [M, 512]
  float* part_lse;   // [parts, M], where there are several
  float* part_mean;  // [parts, M, 512]
};

// Raise std::runtime_error with CUDA's message where a launch fails.
void path_step(const PathStepArgs& args, void* stream);
void path_smooth(const PathSmoothArgs& args, const Segments& segments, void* stream);
void bank_lse_sm90(const BankLseSm90Args& args, void* stream);

}  // namespace cuda
}  // namespace latentpath
