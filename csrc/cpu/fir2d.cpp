// fir2d: a separable four-tap filter on every channel, channels innermost.
//
//   out[y, x] = sum over i, j of taps[i] taps[j] in[y + i - pad, x + j - pad]
//
// One task filters one image and one block of channels: each row is filtered along x once and
// stays in a ring of four rows, from which the filter along y takes its rows. What lies outside the
// image counts as zero.

#include <cstdlib>

#include "cpu/kernels.h"
#include "cpu/pages.h"
#include "cpu/vec.h"

namespace latentpath {
namespace LATENTPATH_ISA {
namespace {

constexpr int kTaps = 4;

// One pixel of a row of the input, filtered along x; taps that fall outside are left out.
template <class Element>
LATENTPATH_INLINE vfloat filter_pixel(const Fir2dArgs& args, const Element* row, int64_t left,
                                      int64_t x) {
  vfloat total = vfloat{};
  for (int64_t j = 0; j < kTaps; ++j) {
    const int64_t from = x + j - args.pad;
    if (from < 0 || from >= args.width) continue;
    total += args.taps[j] * load_up_to(row + from * args.channels, left);
  }
  return total;
}

// One row of the input, filtered along x: [out_width] vectors.
template <class Element>
LATENTPATH_INLINE void filter_row(const Fir2dArgs& args, const Element* row, int64_t left,
                                  vfloat* to) {
  const int64_t channels = args.channels;
  const int64_t inside = args.width - kTaps + args.pad;  // the last x whose taps are all inside
  int64_t x = 0;
  for (; x < args.out_width && x < args.pad; ++x) to[x] = filter_pixel(args, row, left, x);
  if (left >= kLanes && x <= inside) {
    const Element* from = row + (x - args.pad) * channels;
    vfloat a = load_as_float(from), b = load_as_float(from + channels),
           c = load_as_float(from + 2 * channels);
    from += 3 * channels;
    for (; x <= inside; ++x, from += channels) {
      const vfloat d = load_as_float(from);
      to[x] = args.taps[0] * a + args.taps[1] * b + args.taps[2] * c + args.taps[3] * d;
      a = b, b = c, c = d;
    }
  }
  for (; x < args.out_width; ++x) to[x] = filter_pixel(args, row, left, x);
}

// One row of the output, filtered along y from the ring of rows; `first` is its first input row.
template <class Element>
LATENTPATH_INLINE void filter_column(const Fir2dArgs& args, const vfloat* ring, int64_t first,
                                     int64_t left, Element* to) {
  const vfloat* rows[kTaps];
  for (int64_t i = 0; i < kTaps; ++i) {
    const bool inside = first + i >= 0 && first + i < args.height;
    rows[i] = ring + (inside ? (first + i) % kTaps : kTaps) * args.out_width;
  }
  for (int64_t x = 0; x < args.out_width; ++x) {
    vfloat total = args.taps[0] * rows[0][x];
    for (int64_t i = 1; i < kTaps; ++i) total += args.taps[i] * rows[i][x];
    store_up_to(to + x * args.channels, total, left);
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
    filter_column(args, ring, first, left, out + y * args.out_width * channels);
  }
}

template <class Element>
void fir2d_typed(const Fir2dArgs& args) {
  const int64_t blocks = (args.channels + kLanes - 1) / kLanes;
  prefer_large_pages(args.out, args.images * args.out_height * args.out_width * args.channels *
                                   int64_t(sizeof(Element)));
#pragma omp parallel num_threads(args.threads)
  {
    const size_t bytes = size_t((kTaps + 1) * args.out_width) * sizeof(vfloat);
    vfloat* ring = static_cast<vfloat*>(aligned_alloc(sizeof(vfloat), bytes));
    // After the ring, the row of zeros that lies above and below the image.
    for (int64_t x = 0; x < args.out_width; ++x) ring[kTaps * args.out_width + x] = vfloat{};
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
