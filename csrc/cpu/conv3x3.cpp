// conv3x3: 3x3 convolutions with weights that stay, by Winograd's F(4x4, 3x3), channels innermost.
//
// A tile of 4x4 results needs 6x6 inputs. With B, G and A the transforms of the Toom-Cook scheme
// for the points 0, +-sqrt(1/2), +-sqrt(2) and infinity,
//
//   out = A^T [sum over c of (G w_c G^T) * (B^T in_c B)] A,
//
// 36 products a channel instead of 144 (Lavin and Gray, "Fast Algorithms for Convolutional Neural
// Networks", CVPR 2016; these points round less than 0, +-1, +-2: Barabasz et al., "Error Analysis
// and Improving the Accuracy of Winograd Convolution for Deep Neural Networks", 2020). The weights
// come transformed.
//
// One task takes a block of tiles: their inputs are transformed, each of the 36 frequencies is a
// small matrix product [tiles, C] x [C, O], and its results are transformed back, some channels at
// a time. A tile's sums run over the channels in their order, whatever tiles are beside it.

#include <cstdlib>

#include "cpu/kernels.h"
#include "cpu/pages.h"
#include "cpu/vec.h"

namespace latentpath {
namespace LATENTPATH_ISA {
namespace {

constexpr int64_t kTile = 4, kInputs = 6, kFrequencies = 36;
// Channels of a pack of weights, as latentpath/ops/conv3x3.py lays them out.
constexpr int64_t kPack = 16;
constexpr int kPackVectors = kPack / kLanes;
// The product holds kTileRows tiles by kPacks packs in registers.
constexpr int64_t kTileRows = kLanes == 16 ? 12 : kLanes == 8 ? 6 : 3;
constexpr int64_t kPacks = kLanes == 16 ? 2 : 1;
// Tiles of a task, and channels that are transformed back together: what they take stays in the
// second cache.
constexpr int64_t kTiles = 24, kPart = 64;
// Between frequencies; an odd number of cache lines, so that they do not share their places.
constexpr int64_t kGap = 16;

constexpr float kRoot = 1.41421356f, kHalfRoot = 0.707106781f;

// B^T along one axis.
LATENTPATH_INLINE void transform_inputs(const vfloat in[6], vfloat out[6]) {
  out[0] = in[0] + (in[4] - 2.5f * in[2]);
  const vfloat even = in[4] - 2.0f * in[2], odd = in[3] - 2.0f * in[1];
  out[1] = even + kHalfRoot * odd;
  out[2] = even - kHalfRoot * odd;
  const vfloat even2 = in[4] - 0.5f * in[2], odd2 = in[3] - 0.5f * in[1];
  out[3] = even2 + kRoot * odd2;
  out[4] = even2 - kRoot * odd2;
  out[5] = in[1] + (in[5] - 2.5f * in[3]);
}

// A^T along one axis.
LATENTPATH_INLINE void transform_results(const vfloat in[6], vfloat out[4]) {
  const vfloat sum1 = in[1] + in[2], difference1 = in[1] - in[2];
  const vfloat sum2 = in[3] + in[4], difference2 = in[3] - in[4];
  out[0] = in[0] + sum1 + sum2;
  out[1] = kHalfRoot * difference1 + kRoot * difference2;
  out[2] = 0.5f * sum1 + 2.0f * sum2;
  out[3] = in[5] + 0.5f * kHalfRoot * difference1 + 2.0f * kRoot * difference2;
}

// Where a vector of channels of an image lies: of a plain one, or of one whose four channel blocks
// are the four pixels of every 2x2.
struct Plane {
  int64_t offset, row, column;
};

LATENTPATH_INLINE Plane plane_of(int64_t image, int64_t height, int64_t width, int64_t channels,
                                 int64_t channel, bool shuffled) {
  if (!shuffled) {
    return {image * height * width * channels + channel, width * channels, channels};
  }
  const int64_t each = channels / 4, pixel = channel / each, row = 2 * width * each;
  const int64_t at = image * 2 * height * row + pixel / 2 * row + pixel % 2 * each;
  return {at + channel % each, 2 * row, 2 * each};
}

struct Place {
  int64_t image, y, x;  // of the first result
};

LATENTPATH_INLINE Place place_of(const Conv3x3Args& args, int64_t tile) {
  const int64_t across = (args.width + kTile - 1) / kTile, down = (args.height + kTile - 1) / kTile;
  return {tile / (across * down), tile / across % down * kTile, tile % across * kTile};
}

// A row of a tile's inputs; what lies outside the image counts as zero.
LATENTPATH_INLINE void load_row(const float* row, int64_t column, int64_t x, int64_t width,
                                int64_t left, vfloat out[6]) {
  if (x >= 1 && x + kTile < width && left >= kLanes) {
    for (int64_t j = 0; j < kInputs; ++j) out[j] = load(row + (x + j - 1) * column);
    return;
  }
  for (int64_t j = 0; j < kInputs; ++j) {
    const int64_t from = x + j - 1;
    const bool inside = from >= 0 && from < width;
    out[j] = inside ? load_up_to(row + from * column, left) : vfloat{};
  }
}

// The transformed inputs of one tile: one row of each frequency's [tiles, C].
LATENTPATH_INLINE void transform_tile(const Conv3x3Args& args, const Place& at, float* to,
                                      int64_t stride) {
  for (int64_t c = 0; c < args.in_channels; c += kLanes) {
    const int64_t left = args.in_channels - c;
    const Plane plane =
        plane_of(at.image, args.height, args.width, args.in_channels, c, args.gather);
    vfloat rows[kInputs][kInputs];
    for (int64_t i = 0; i < kInputs; ++i) {
      const int64_t y = at.y + i - 1;
      vfloat inputs[kInputs] = {};
      if (y >= 0 && y < args.height) {
        load_row(args.in + plane.offset + y * plane.row, plane.column, at.x, args.width, left,
                 inputs);
      }
      transform_inputs(inputs, rows[i]);
    }
    for (int64_t j = 0; j < kInputs; ++j) {
      vfloat column[kInputs], done[kInputs];
      for (int64_t i = 0; i < kInputs; ++i) column[i] = rows[i][j];
      transform_inputs(column, done);
      for (int64_t i = 0; i < kInputs; ++i) {
        store_up_to(to + (i * kInputs + j) * stride + c, done[i], left);
      }
    }
  }
}

// kTileRows tiles of one frequency times some packs of weights.
template <int64_t packs>
LATENTPATH_INLINE void product(const float* inputs, int64_t channels, const float* weight,
                               float* to, int64_t stride) {
  vfloat sums[kTileRows][packs * kPackVectors] = {};
  for (int64_t c = 0; c < channels; ++c) {
    vfloat weights[packs * kPackVectors];
    for (int64_t b = 0; b < packs; ++b) {
      for (int v = 0; v < kPackVectors; ++v) {
        weights[b * kPackVectors + v] = load(weight + (b * channels + c) * kPack + v * kLanes);
      }
    }
    for (int64_t r = 0; r < kTileRows; ++r) {
      const vfloat input = splat(inputs[r * channels + c]);
      for (int v = 0; v < packs * kPackVectors; ++v) sums[r][v] += input * weights[v];
    }
  }
  for (int64_t r = 0; r < kTileRows; ++r) {
    for (int v = 0; v < packs * kPackVectors; ++v) store(to + r * stride + v * kLanes, sums[r][v]);
  }
}

// One tile's results, of channels `first` to `first + count`.
LATENTPATH_INLINE void transform_back(const Conv3x3Args& args, const Place& at, int64_t first,
                                      int64_t count, const float* from, int64_t stride) {
  const int64_t rows = args.height - at.y, columns = args.width - at.x;
  for (int64_t o = 0; o < count; o += kLanes) {
    const int64_t channel = first + o, left = args.out_channels - channel;
    vfloat half[kTile][kInputs];
    for (int64_t j = 0; j < kInputs; ++j) {
      vfloat column[kInputs], done[kTile];
      for (int64_t i = 0; i < kInputs; ++i) column[i] = load(from + (i * kInputs + j) * stride + o);
      transform_results(column, done);
      for (int64_t i = 0; i < kTile; ++i) half[i][j] = done[i];
    }
    const vfloat bias = args.bias ? load_up_to(args.bias + channel, left) : vfloat{};
    const Plane plane =
        plane_of(at.image, args.height, args.width, args.out_channels, channel, args.scatter);
    for (int64_t i = 0; i < kTile && i < rows; ++i) {
      vfloat done[kTile];
      transform_results(half[i], done);
      float* to = args.out + plane.offset + (at.y + i) * plane.row + at.x * plane.column;
      for (int64_t j = 0; j < kTile && j < columns; ++j) {
        store_up_to(to + j * plane.column, done[j] + bias, left);
      }
    }
  }
}

void convolve_block(const Conv3x3Args& args, int64_t first, int64_t count, float* inputs,
                    float* results) {
  const int64_t c = args.in_channels, packs = (args.out_channels + kPack - 1) / kPack;
  const int64_t input_stride = kTiles * c + kGap, result_stride = kTiles * kPart + kGap;
  for (int64_t t = 0; t < count; ++t) {
    transform_tile(args, place_of(args, first + t), inputs + t * c, input_stride);
  }
  for (int64_t b = 0; b < packs; b += kPart / kPack) {
    const int64_t together = packs - b < kPart / kPack ? packs - b : kPart / kPack;
    for (int64_t f = 0; f < kFrequencies; ++f) {
      const float* weight = args.weight + (f * packs + b) * c * kPack;
      for (int64_t k = 0; k < together; k += kPacks) {
        for (int64_t r = 0; r < count; r += kTileRows) {  // the last rows may be of no tile
          const float* in = inputs + f * input_stride + r * c;
          float* to = results + f * result_stride + r * kPart + k * kPack;
          if (k + kPacks <= together) {
            product<kPacks>(in, c, weight + k * c * kPack, to, kPart);
          } else {
            product<1>(in, c, weight + k * c * kPack, to, kPart);
          }
        }
      }
    }
    const int64_t channel = b * kPack, rest = args.out_channels - channel;
    for (int64_t t = 0; t < count; ++t) {
      transform_back(args, place_of(args, first + t), channel, rest < kPart ? rest : kPart,
                     results + t * kPart, result_stride);
    }
  }
}

int64_t padded(int64_t floats) { return (floats + kPack - 1) / kPack * kPack; }

}  // namespace

void conv3x3(const Conv3x3Args& args) {
  const int64_t across = (args.width + kTile - 1) / kTile, down = (args.height + kTile - 1) / kTile;
  const int64_t tiles = args.images * across * down, tasks = (tiles + kTiles - 1) / kTiles;
  prefer_large_pages(args.out, args.images * args.height * args.width * args.out_channels *
                                   int64_t(sizeof(float)));
#pragma omp parallel num_threads(args.threads)
  {
    const int64_t of_inputs = padded(kFrequencies * (kTiles * args.in_channels + kGap));
    const int64_t floats = of_inputs + kFrequencies * (kTiles * kPart + kGap);
    float* scratch = static_cast<float*>(aligned_alloc(64, size_t(floats) * sizeof(float)));
    for (int64_t i = 0; i < of_inputs; ++i) scratch[i] = 0.0f;
#pragma omp for schedule(static)
    for (int64_t task = 0; task < tasks; ++task) {
      const int64_t first = task * kTiles;
      convolve_block(args, first, tiles - first < kTiles ? tiles - first : kTiles, scratch,
                     scratch + of_inputs);
    }
    free(scratch);
  }
}

}  // namespace LATENTPATH_ISA
}  // namespace latentpath
