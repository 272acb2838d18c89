// modulated_act: what lies between two convolutions of StyleGAN2, in one visit of the activations.
//
//   z = x * scale + noise + bias          (scale: demodulation, one number per image and channel)
//   y = clamp(gain * leaky_relu(z))
//   out = y * style                       (the next convolution's modulation)
//   rgb[r] = sum over channels of y * rgb_weight[r]     (the 1x1 convolution to the image)
//
// Channels are the innermost axis, so a vector holds neighbouring channels of one pixel and the
// numbers per channel are vectors of their own. Backward inverts the activation where it needs z
// or x: y is all that is kept. Every image is worked on alone and in a fixed order, whatever the
// batch and the number of threads.

#include <limits>

#include "cpu/kernels.h"
#include "cpu/pages.h"
#include "cpu/vec.h"

namespace latentpath {
namespace LATENTPATH_ISA {
namespace {

constexpr int kMostRgb = 4;
constexpr int64_t kPixels = 256;  // pixels of one forward task, at least one row

struct Activation {
  float slope, gain, clamp;  // clamp: infinity where there is none
};

LATENTPATH_INLINE vfloat activation(const Activation& act, vfloat z) {
  const vfloat y = (z > 0.0f ? z : z * act.slope) * act.gain;
  const vfloat most = splat(act.clamp);
  // A NaN passes both comparisons as it is.
  return y > most ? most : (y < -most ? -most : y);
}

// What the activation's value y tells of its derivative and its argument.
struct Inverse {
  float gain, gain_below, unit, unit_below, clamp;
};

// `largest` is the clamp as y's element type holds it. With slope 0 the argument below zero is
// lost, but there the gradient is zero.
LATENTPATH_INLINE Inverse inverse_of(const Activation& act, float largest) {
  const float below = act.gain * act.slope;
  return {act.gain, below, 1.0f / act.gain, below > 0.0f ? 1.0f / below : 0.0f, largest};
}

LATENTPATH_INLINE vfloat derivative(const Inverse& inverse, vfloat y) {
  const vfloat inside = y > 0.0f ? splat(inverse.gain) : splat(inverse.gain_below);
  const vfloat size = y > 0.0f ? y : -y;
  return size >= splat(inverse.clamp) ? vfloat{} : inside;
}

LATENTPATH_INLINE vfloat argument(const Inverse& inverse, vfloat y) {
  return y * (y > 0.0f ? splat(inverse.unit) : splat(inverse.unit_below));
}

template <class Element>
LATENTPATH_INLINE float rounded(float x) {
  if (!(x < std::numeric_limits<float>::max())) return x;
  Element buffer[kLanes];
  store_from_float(buffer, splat(x));
  return load_as_float(buffer)[0];
}

// Pixels [first, last) of image m.
template <class Element>
void forward_pixels(const ModulatedActArgs& args, int64_t m, int64_t first, int64_t last) {
  const int64_t channels = args.channels, pixels = args.pixels;
  const Activation act{args.slope, args.gain, args.clamp};
  const float* scale = args.scale ? args.scale + m * channels : nullptr;
  const float* style = args.style ? args.style + m * channels : nullptr;
  const float* noise = args.noise ? args.noise + m * args.noise_stride : nullptr;
  const float* rgb_weight = args.rgb_weight + m * args.rgb_channels * channels;
  Element* x = static_cast<Element*>(args.x) + m * pixels * channels;
  Element* out = static_cast<Element*>(args.out) + m * pixels * channels;
  for (int64_t p = first; p < last; ++p) {
    const float shift = noise ? noise[p] : 0.0f;
    vfloat colour[kMostRgb] = {};
    for (int64_t c = 0; c < channels; c += kLanes) {
      const int64_t left = channels - c, at = p * channels + c;
      vfloat z = load_up_to(x + at, left);
      if (scale) z *= load_up_to(scale + c, left);
      const vfloat y = activation(act, z + (load_up_to(args.bias + c, left) + shift));
      store_up_to(x + at, y, left);
      if (style) store_up_to(out + at, y * load_up_to(style + c, left), left);
      for (int64_t r = 0; r < args.rgb_channels; ++r) {
        colour[r] += y * load_up_to(rgb_weight + r * channels + c, left);
      }
    }
    for (int64_t r = 0; r < args.rgb_channels; ++r) {
      args.rgb[(m * args.rgb_channels + r) * pixels + p] = sum(colour[r]);
    }
  }
}

template <class Element>
void forward(const ModulatedActArgs& args) {
  const int64_t parts = (args.pixels + kPixels - 1) / kPixels;
  const int64_t size = args.images * args.pixels * args.channels * int64_t(sizeof(Element));
  if (args.out) prefer_large_pages(args.out, size);
#pragma omp parallel for num_threads(args.threads) schedule(static)
  for (int64_t task = 0; task < args.images * parts; ++task) {
    const int64_t first = task % parts * kPixels;
    const int64_t last = first + kPixels < args.pixels ? first + kPixels : args.pixels;
    forward_pixels<Element>(args, task / parts, first, last);
  }
}

// Sums over the pixels of one image, for up to kVectors vectors of channels.
template <int kVectors>
struct Sums {
  vfloat style[kVectors] = {}, scale[kVectors] = {}, rgb[kMostRgb][kVectors] = {};
};

template <int kVectors>
LATENTPATH_INLINE void add(Sums<kVectors>& total, const Sums<kVectors>& part, int64_t rgb_channels) {
  for (int v = 0; v < kVectors; ++v) {
    total.style[v] += part.style[v];
    total.scale[v] += part.scale[v];
    for (int64_t r = 0; r < rgb_channels; ++r) total.rgb[r][v] += part.rgb[r][v];
  }
}

// Channels [c, c + kVectors vectors) of image m. Sums are taken by parts, which keeps their
// rounding small on large images.
template <class Element, int kVectors>
void backward_channels(const ModulatedActBackwardArgs& args, const Inverse& inverse, int64_t m,
                       int64_t c) {
  const int64_t channels = args.channels, pixels = args.pixels, colours = args.rgb_channels;
  const float* noise = args.noise ? args.noise + m * args.noise_stride : nullptr;
  const float* grad_rgb = args.grad_rgb + m * colours * pixels;
  const Element* y_image = static_cast<const Element*>(args.y) + m * pixels * channels + c;
  Element* grad = static_cast<Element*>(args.grad) + m * pixels * channels + c;
  int64_t left[kVectors];
  vfloat scale[kVectors], style[kVectors], bias[kVectors], rgb_weight[kMostRgb][kVectors];
  for (int v = 0; v < kVectors; ++v) {
    const int64_t at = m * channels + c + v * kLanes;
    left[v] = channels - c - v * kLanes;
    scale[v] = args.scale ? load_up_to(args.scale + at, left[v]) : splat(1.0f);
    style[v] = args.style ? load_up_to(args.style + at, left[v]) : splat(1.0f);
    bias[v] = load_up_to(args.bias + c + v * kLanes, left[v]);
    for (int64_t r = 0; r < colours; ++r) {
      const int64_t row = (m * colours + r) * channels;
      rgb_weight[r][v] = load_up_to(args.rgb_weight + row + c + v * kLanes, left[v]);
    }
  }
  Sums<kVectors> total;
  for (int64_t first = 0; first < pixels; first += kPixels) {
    const int64_t last = first + kPixels < pixels ? first + kPixels : pixels;
    Sums<kVectors> part;
    for (int64_t p = first; p < last; ++p) {
      const float shift = noise ? noise[p] : 0.0f;
      for (int v = 0; v < kVectors; ++v) {
        const int64_t at = p * channels + v * kLanes;
        const vfloat y = load_up_to(y_image + at, left[v]);
        vfloat grad_y = vfloat{};
        if (args.has_grad) {
          const vfloat grad_out = load_up_to(grad + at, left[v]);
          part.style[v] += grad_out * y;
          grad_y = grad_out * style[v];
        }
        for (int64_t r = 0; r < colours; ++r) {
          const float slope = grad_rgb[r * pixels + p];
          part.rgb[r][v] += slope * y;
          grad_y += slope * rgb_weight[r][v];
        }
        const vfloat grad_z = grad_y * derivative(inverse, y);
        part.scale[v] += grad_z * (argument(inverse, y) - (bias[v] + shift));
        store_up_to(grad + at, grad_z * scale[v], left[v]);
      }
    }
    add(total, part, colours);
  }
  for (int v = 0; v < kVectors; ++v) {
    const int64_t at = m * channels + c + v * kLanes;
    if (args.grad_style) store_up_to(args.grad_style + at, total.style[v], left[v]);
    if (args.grad_log_scale) store_up_to(args.grad_log_scale + at, total.scale[v], left[v]);
    for (int64_t r = 0; r < colours; ++r) {
      const int64_t row = (m * colours + r) * channels;
      store_up_to(args.grad_rgb_weight + row + c + v * kLanes, total.rgb[r][v], left[v]);
    }
  }
}

template <class Element>
void backward(const ModulatedActBackwardArgs& args) {
  constexpr int kVectors = 2;
  constexpr int64_t kBlock = kVectors * kLanes;
  const Inverse inverse =
      inverse_of({args.slope, args.gain, args.clamp}, rounded<Element>(args.clamp));
  const int64_t blocks = (args.channels + kBlock - 1) / kBlock;
  const int64_t size = args.images * args.pixels * args.channels * int64_t(sizeof(Element));
  if (!args.has_grad) prefer_large_pages(args.grad, size);
#pragma omp parallel for num_threads(args.threads) schedule(static)
  for (int64_t task = 0; task < args.images * blocks; ++task) {
    const int64_t m = task / blocks, c = task % blocks * kBlock;
    if (args.channels - c > kLanes) {
      backward_channels<Element, kVectors>(args, inverse, m, c);
    } else {
      backward_channels<Element, 1>(args, inverse, m, c);
    }
  }
}

}  // namespace

void modulated_act(const ModulatedActArgs& args) {
  switch (args.dtype) {
    case DType::kFloat32: return forward<float>(args);
    case DType::kBFloat16: return forward<BFloat16>(args);
    case DType::kFloat16: return forward<Float16>(args);
  }
}

void modulated_act_backward(const ModulatedActBackwardArgs& args) {
  switch (args.dtype) {
    case DType::kFloat32: return backward<float>(args);
    case DType::kBFloat16: return backward<BFloat16>(args);
    case DType::kFloat16: return backward<Float16>(args);
  }
}

}  // namespace LATENTPATH_ISA
}  // namespace latentpath
