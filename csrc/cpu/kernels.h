// The CPU kernels as a table of functions, one table per instruction set.
//
// The kernel sources are compiled several times with different flags, each time
// into a namespace of its own (LATENTPATH_ISA); cpu/dispatch.cpp picks the best
// table that the processor can run. All pointers are to dense, row-major data.
#pragma once

#include <cstdint>

#include "dtype.h"

namespace latentpath {

struct KlUniformArgs {
  const void* logits;  // [M, N], rows `row_stride` elements apart
  DType dtype;
  int64_t rows, columns, row_stride;
  float* energy;   // [M]
  void* gradient;  // [M, N] in the logits' dtype, or null
  int threads;
};

struct BankLseArgs {
  const void* query;  // [M, D]
  DType query_dtype;
  const void* bank;  // [N, D]
  DType bank_dtype;
  const float* bias;  // [N] or null
  int64_t rows, bank_rows, width;
  float scale;
  float* lse;   // [M]
  float* mean;  // [M, D]
  int threads;
};

struct PathStepArgs {
  float* path;                           // [B, T, D]
  const float* guide;                    // [B, T-2, D] or null
  float *exp_avg, *exp_avg_sq;           // [B, T-2, D]
  int64_t* step;                         // [B]
  const float* lr;                       // [B]
  const bool* mask;                      // [B] or null
  int64_t batch, points, width;          // B, T, D
  double guide_weight, smooth_weight;
  double beta1, beta2, eps;
  double* sums;    // [2, B, chunks]: smoothness energy, squared gradient norm
  float* borders;  // [B, chunks, 2, D] scratch: old rows just outside every chunk
  int threads;
};

struct PathSmoothArgs {
  float* rhs;                    // [B, T, D]
  int64_t batch, points, width;  // B, T, D
  float alpha;
  bool zero_ends;
  const float* inverse_pivots;  // [T-2]
  int threads;
};

struct RowDistancesArgs {
  const float* points;    // [n, D], rows `row_stride` elements apart
  const double* targets;  // [m, D]
  int64_t rows, targets_count, width, row_stride;
  double* squared;  // [m, n]
  int threads;
};

// Activations are [M, P, C]: images, pixels, channels.
struct ModulatedActArgs {
  void* x;  // [M, P, C]: the convolution's results; the activations afterwards
  DType dtype;
  int64_t images, pixels, channels;
  const float* scale;  // [M, C] or null
  const float* noise;  // [P] or [M, P], images `noise_stride` apart, or null
  int64_t noise_stride;
  const float* bias;  // [C]
  float slope, gain, clamp;
  const float* style;       // [M, C] or null
  void* out;                // [M, P, C], or null without style
  const float* rgb_weight;  // [M, R, C]
  float* rgb;               // [M, R, P]
  int64_t rgb_channels;     // R, 0 to 4
  int threads;
};

struct ModulatedActBackwardArgs {
  void* grad;        // [M, P, C]: of out (of x without style); of the convolution's results after
  bool has_grad;     // whether there is anything in it before
  const void* y;     // [M, P, C]: the activations
  DType dtype;
  int64_t images, pixels, channels;
  const float* scale;  // as in ModulatedActArgs, down to rgb_weight
  const float* noise;
  int64_t noise_stride;
  const float* bias;
  float slope, gain, clamp;
  const float* style;
  const float* rgb_weight;
  const float* grad_rgb;  // [M, R, P]
  int64_t rgb_channels;
  float* grad_style;       // [M, C] or null
  float* grad_log_scale;   // [M, C] or null: gradient of log(scale)
  float* grad_rgb_weight;  // [M, R, C]
  int threads;
};

struct Fir2dArgs {
  const void* in;  // [M, H, W, C]
  void* out;       // [M, H', W', C]
  DType dtype;
  int64_t images, height, width, channels, out_height, out_width, pad;
  float taps[4];
  int threads;
};

struct Conv3x3Args {
  const float* in;      // [M, H, W, C], or [M, 2H, 2W, C/4] where `gather`
  const float* weight;  // [36, packs, C, 16]: transformed, O in packs of 16, zeros after the last
  const float* bias;    // [O] or null
  float* out;           // [M, H, W, O], or [M, 2H, 2W, O/4] where `scatter`
  int64_t images, height, width, in_channels, out_channels;
  bool gather, scatter;  // four channel blocks, of a multiple of 16 each, are the pixels of a 2x2
  int threads;
};

// Interior points that one task of path_step handles. Fixed, so that sums are taken in the same
// order whatever the number of threads is.
constexpr int64_t kStepChunk = 64;

inline int64_t path_step_chunks(int64_t points) {
  return (points - 2 + kStepChunk - 1) / kStepChunk;
}

struct Kernels {
  const char* isa;
  void (*kl_uniform)(const KlUniformArgs&);
  void (*bank_lse)(const BankLseArgs&);
  void (*path_step)(const PathStepArgs&);
  void (*path_smooth)(const PathSmoothArgs&);
  void (*row_distances)(const RowDistancesArgs&);
  void (*modulated_act)(const ModulatedActArgs&);
  void (*modulated_act_backward)(const ModulatedActBackwardArgs&);
  void (*fir2d)(const Fir2dArgs&);
  void (*conv3x3)(const Conv3x3Args&);
  void (*exponential)(const float* x, float* y, int64_t count);  // the kernels' exp, for tests
};

}  // namespace latentpath
