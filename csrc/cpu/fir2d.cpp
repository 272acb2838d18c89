// fir2d: a separable four-tap filter on every channel, channels innermost.
//
//   out[y, x] = sum over i, j of taps[i] taps[j] in[y + i - pad, x + j - pad]
//
// One task filters one image and one block of channels: each row is filtered along x once and
// stays in a ring of four rows, from which the filter along y takes its rows. Rows outside the
// image count as zero.

#include <cstdlib>

#include "cpu/kernels.h"
#include "cpu/pages.h"
#include "cpu/vec.h"

namespace latentpath {
namespace LATENTPATH_ISA {
namespace {

constexpr int kTaps = 4;

// One row of the input, filtered along x: [out_width] vectors.
template <class Element>
LATENTPATH_INLINE void filter_row(const Fir2dArgs& args, const Element* row, int64_t left,
                                  vfloat* to) {
  for (int64_t x = 0; x < args.out_width; ++x) {
    vfloat total = vfloat{};
    for (int j = 0; j < kTaps; ++j) {
      const int64_t from = x + j - args.pad;
      if (from < 0 || from >= args.width) continue;
      total += args.taps[j] * load_up_to(row + from * args.channels, left);
    }
    to[x] = total;
  }
}

template <class Element>
void filter_block(const Fir2dArgs& args, int64_t m, int64_t c, vfloat* ring) {
  const int64_t channels = args.channels, left = channels - c;
  const Element* in =
      static_cast<const Element*>(args.in) + m * args.height * args.width * channels + c;
  Element* out =
      static_cast<Element*>(args.out) + m * args.out_height * args.out_width * channels + c;
  int64_t done = 0;  // rows of the input that have been filtered along x
  for (int64_t y = 0; y < args.out_height; ++y) {
    const int64_t first = y - args.pad;
    for (; done < args.height && done < first + kTaps; ++done) {
      filter_row(args, in + done * args.width * channels, left,
                 ring + done % kTaps * args.out_width);
    }
    for (int64_t x = 0; x < args.out_width; ++x) {
      vfloat total = vfloat{};
      for (int i = 0; i < kTaps; ++i) {
        const int64_t row = first + i;
        if (row < 0 || row >= args.height) continue;
        total += args.taps[i] * ring[row % kTaps * args.out_width + x];
      }
      store_up_to(out + (y * args.out_width + x) * channels, total, left);
    }
  }
}

template <class Element>
void fir2d_typed(const Fir2dArgs& args) {
  const int64_t blocks = (args.channels + kLanes - 1) / kLanes;
  prefer_large_pages(args.out, args.images * args.out_height * args.out_width * args.channels *
                                   int64_t(sizeof(Element)));
#pragma omp parallel num_threads(args.threads)
  {
    const size_t bytes = size_t(kTaps * args.out_width) * sizeof(vfloat);
    vfloat* ring = static_cast<vfloat*>(aligned_alloc(sizeof(vfloat), bytes));
#pragma omp for schedule(static)
    for (int64_t task = 0; task < args.images * blocks; ++task) {
      filter_block<Element>(args, task / blocks, task % blocks * kLanes, ring);
    }
    free(ring);
  }
}

}  // namespace

void fir2d(const Fir2dArgs& args) {
  switch (args.dtype) {
    case DType::kFloat32: return fir2d_typed<float>(args);
    case DType::kBFloat16: return fir2d_typed<BFloat16>(args);
    case DType::kFloat16: return fir2d_typed<Float16>(args);
  }
}

}  // namespace LATENTPATH_ISA
}  // namespace latentpath
