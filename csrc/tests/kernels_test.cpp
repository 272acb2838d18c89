// Runs every CPU kernel of every instruction set on ragged shapes, for the sanitizers.
//
// Arrays are allocated with exactly the size that a kernel may touch, so that the address
// sanitizer sees any access outside. Results are compared with loops in double: a kernel that
// reads the wrong element inside an array is found too. Prints what it ran; exits with 1 where a
// result is off.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cpu/dispatch.h"
#include "path_math.h"

namespace {

using namespace latentpath;

int failures = 0;

// A block of exactly `size` elements, without the spare capacity a std::vector may have.
template <class T>
struct Block {
  int64_t size;
  std::unique_ptr<T[]> data;
  explicit Block(int64_t n) : size(n), data(new T[size_t(n)]()) {}
  T* get() const { return data.get(); }
  T& operator[](int64_t i) const { return data[size_t(i)]; }
};

std::mt19937 generator(7);

Block<float> normal(int64_t size, float scale = 1.0f) {
  std::normal_distribution<float> distribution(0.0f, scale);
  Block<float> block(size);
  for (int64_t i = 0; i < size; ++i) block[i] = distribution(generator);
  return block;
}

uint16_t to_bfloat16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float from_bfloat16(uint16_t h) {
  const uint32_t bits = uint32_t(h) << 16;
  float x;
  memcpy(&x, &bits, 4);
  return x;
}

void expect_close(const char* what, double got, double want, double tolerance) {
  if (std::fabs(got - want) <= tolerance * (1.0 + std::fabs(want))) return;
  std::printf("%s (%s): got %.9g, expected %.9g\n", what, kernels().isa, got, want);
  ++failures;
}

double logsumexp(const std::vector<double>& x) {
  double most = x[0], total = 0.0;
  for (double v : x) most = std::fmax(most, v);
  for (double v : x) total += std::exp(v - most);
  return most + std::log(total);
}

void test_kl_uniform(int64_t rows, int64_t columns) {
  const Block<float> logits = normal(rows * columns, 4.0f);
  const Block<float> energy(rows), gradient(rows * columns);
  kernels().kl_uniform({logits.get(), DType::kFloat32, rows, columns, columns, energy.get(),
                        gradient.get(), 2});
  const int64_t every = rows > 100 ? 41 : 1;  // of many rows some, from all threads
  for (int64_t m = 0; m < rows; m += every) {
    const float* row = logits.get() + m * columns;
    const double lse = logsumexp(std::vector<double>(row, row + columns));
    double mean = 0.0;
    for (int64_t n = 0; n < columns; ++n) mean += row[n] / double(columns);
    expect_close("kl_uniform energy", energy[m], lse - mean - std::log(double(columns)), 1e-5);
    for (int64_t n = 0; n < columns; ++n) {
      expect_close("kl_uniform gradient", gradient[m * columns + n],
                   std::exp(row[n] - lse) - 1.0 / double(columns), 1e-5);
    }
  }
  // Half precision: the values of the rounded logits; float16 for its accesses alone.
  const Block<uint16_t> half(rows * columns), half_gradient(rows * columns);
  for (int64_t i = 0; i < half.size; ++i) half[i] = to_bfloat16(logits[i]);
  kernels().kl_uniform({half.get(), DType::kBFloat16, rows, columns, columns, energy.get(),
                        half_gradient.get(), 1});
  for (int64_t m = 0; m < rows; m += every) {
    std::vector<double> row(static_cast<size_t>(columns));
    double mean = 0.0;
    for (int64_t n = 0; n < columns; ++n) {
      row[size_t(n)] = from_bfloat16(half[m * columns + n]);
      mean += row[size_t(n)] / double(columns);
    }
    const double lse = logsumexp(row);
    expect_close("kl_uniform half energy", energy[m], lse - mean - std::log(double(columns)), 1e-5);
    for (int64_t n = 0; n < columns; ++n) {
      expect_close("kl_uniform half gradient", from_bfloat16(half_gradient[m * columns + n]),
                   std::exp(row[size_t(n)] - lse) - 1.0 / double(columns), 4e-3);
    }
  }
  kernels().kl_uniform({half.get(), DType::kFloat16, rows, columns, columns, energy.get(),
                        half_gradient.get(), 1});
}

void test_bank_lse(int64_t rows, int64_t bank_rows, int64_t width, bool half, bool with_bias) {
  const float scale = 3.0f / std::sqrt(float(width));
  const Block<float> query = normal(rows * width), bank = normal(bank_rows * width);
  const Block<float> bias = normal(bank_rows), lse(rows), mean(rows * width);
  const Block<uint16_t> half_bank(bank_rows * width), half_query(rows * width);
  for (int64_t i = 0; half && i < bank.size; ++i) {
    half_bank[i] = to_bfloat16(bank[i]);
    bank[i] = from_bfloat16(half_bank[i]);
  }
  for (int64_t i = 0; half && i < query.size; ++i) {
    half_query[i] = to_bfloat16(query[i]);
    query[i] = from_bfloat16(half_query[i]);
  }
  const DType dtype = half ? DType::kBFloat16 : DType::kFloat32;
  const void* queries = half ? static_cast<void*>(half_query.get()) : query.get();
  const void* banks = half ? static_cast<void*>(half_bank.get()) : bank.get();
  kernels().bank_lse({queries, dtype, banks, dtype, with_bias ? bias.get() : nullptr, rows,
                      bank_rows, width, scale, lse.get(), mean.get(), 2});
  const double tolerance = half ? 3e-2 : 2e-5;
  for (int64_t m = 0; m < rows; m += 7) {
    std::vector<double> scores(static_cast<size_t>(bank_rows), 0.0);
    for (int64_t n = 0; n < bank_rows; ++n) {
      for (int64_t d = 0; d < width; ++d) {
        scores[size_t(n)] += double(query[m * width + d]) * bank[n * width + d] * scale;
      }
      if (with_bias) scores[size_t(n)] += bias[n];
    }
    const double expected = logsumexp(scores);
    expect_close("bank_lse lse", lse[m], expected, tolerance);
    for (int64_t d = 0; d < width; d += 5) {
      double expected_mean = 0.0;
      for (int64_t n = 0; n < bank_rows; ++n) {
        expected_mean += std::exp(scores[size_t(n)] - expected) * bank[n * width + d];
      }
      expect_close("bank_lse mean", mean[m * width + d], expected_mean, tolerance);
    }
  }
}

void test_path_step(int64_t batch, int64_t points, int64_t width, bool guided) {
  const int64_t interior = points - 2, chunks = path_step_chunks(points);
  const Block<float> path = normal(batch * points * width);
  const Block<float> guide = normal(batch * interior * width);
  const Block<float> first = normal(guide.size), second(guide.size), lr(batch);
  const Block<int64_t> step(batch);
  const Block<bool> mask(batch);
  const Block<float> before(path.size), moments(first.size), borders(batch * chunks * 2 * width);
  const Block<double> sums(2 * batch * chunks);
  for (int64_t i = 0; i < path.size; ++i) before[i] = path[i];
  for (int64_t i = 0; i < first.size; ++i) moments[i] = first[i];
  for (int64_t b = 0; b < batch; ++b) {
    lr[b] = 0.1f;
    mask[b] = b % 2 == 0;
  }
  kernels().path_step({path.get(), guided ? guide.get() : nullptr, first.get(), second.get(),
                       step.get(), lr.get(), mask.get(), batch, points, width, 0.5, 0.25, 0.9,
                       0.999, 1e-8, sums.get(), borders.get(), 2});
  for (int64_t b = 0; b < batch; ++b) {
    double energy = 0.0;
    for (int64_t t = 0; t < points; ++t) {
      for (int64_t d = 0; d < width; ++d) {
        const int64_t at = (b * points + t) * width + d;
        const bool moves = mask[b] && t > 0 && t < points - 1;
        if (t > 0) energy += std::pow(double(before[at]) - before[at - width], 2);
        if (!moves) {
          expect_close("path_step still point", path[at], before[at], 0.0);
          continue;
        }
        // The first step of Adam, where the gradient that it divides by is not close to 0.
        const int64_t in = (b * interior + t - 1) * width + d;
        const double smooth = 2.0 * before[at] - double(before[at - width]) - before[at + width];
        const double gradient = (guided ? 0.5 * guide[in] : 0.0) + 0.25 * 2.0 * smooth;
        const double moment = 0.9 * moments[in] + 0.1 * gradient;
        expect_close("path_step moment", first[in], moment, 1e-6);
        if (std::fabs(gradient) < 0.1) continue;
        const double moved = 0.1 * (moment / 0.1) / (std::fabs(gradient) + 1e-8);
        expect_close("path_step point", path[at], before[at] - moved, 2e-5);
      }
    }
    double total = 0.0;
    for (int64_t c = 0; c < chunks; ++c) total += sums[b * chunks + c];
    expect_close("path_step energy", total, mask[b] ? energy : 0.0, 1e-5);
    expect_close("path_step step", double(step[b]), mask[b] ? 1.0 : 0.0, 0.0);
  }
}

void test_path_smooth(int64_t batch, int64_t points, int64_t width, bool zero_ends) {
  const int64_t interior = points - 2;
  const float alpha = 5.0f;
  const Block<float> rhs = normal(batch * points * width), inverse(interior), x(rhs.size);
  double pivot = 1.0 + 2.0 * alpha;
  for (int64_t t = 0; t < interior; ++t) {
    inverse[t] = float(1.0 / pivot);
    pivot = 1.0 + 2.0 * alpha - double(alpha) * alpha / pivot;
  }
  for (int64_t i = 0; i < rhs.size; ++i) x[i] = rhs[i];
  kernels().path_smooth({x.get(), batch, points, width, alpha, zero_ends, inverse.get(), 2});
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t t = 1; t + 1 < points; ++t) {
      for (int64_t d = 0; d < width; ++d) {
        const int64_t at = (b * points + t) * width + d;
        const double left = t == 1 && zero_ends ? 0.0 : x[at - width];
        const double right = t == interior && zero_ends ? 0.0 : x[at + width];
        const double product = (1.0 + 2.0 * alpha) * x[at] - alpha * (left + right);
        expect_close("path_smooth residual", product, rhs[at], 1e-5);
      }
    }
  }
}

void test_row_distances(int64_t rows, int64_t targets, int64_t width, int64_t row_stride) {
  const Block<float> points = normal((rows - 1) * row_stride + width);
  const Block<float> drawn = normal(targets * width);
  const Block<double> wide(targets * width), squared(targets * rows);
  for (int64_t i = 0; i < wide.size; ++i) wide[i] = drawn[i];
  kernels().row_distances({points.get(), wide.get(), rows, targets, width, row_stride,
                           squared.get(), 2});
  for (int64_t t = 0; t < targets; ++t) {
    for (int64_t n = 0; n < rows; ++n) {
      double want = 0.0;
      for (int64_t d = 0; d < width; ++d) {
        const double apart = points[n * row_stride + d] - wide[t * width + d];
        want += apart * apart;
      }
      expect_close("row_distances", squared[t * rows + n], want, 1e-13);
    }
  }
}

// One image's noise for all, a leaky ReLU that clamps, and as many image channels as asked for.
void test_modulated_act(int64_t images, int64_t pixels, int64_t channels, int64_t colours) {
  const int64_t size = images * pixels * channels;
  const float slope = 0.2f, gain = 1.4f, clamp = 2.5f;
  const Block<float> x = normal(size), y(size), out(size), grad = normal(size);
  const Block<float> scale = normal(images * channels), style = normal(images * channels);
  const Block<float> noise = normal(pixels), bias = normal(channels);
  const Block<float> weight = normal(images * colours * channels);
  const Block<float> rgb(images * colours * pixels), grad_rgb = normal(rgb.size);
  const Block<float> grad_style(scale.size), grad_scale(scale.size), grad_weight(weight.size);
  for (int64_t i = 0; i < scale.size; ++i) scale[i] = 0.5f + std::fabs(scale[i]);
  for (int64_t i = 0; i < size; ++i) y[i] = x[i];
  kernels().modulated_act({y.get(), DType::kFloat32, images, pixels, channels, scale.get(),
                           noise.get(), 0, bias.get(), slope, gain, clamp, style.get(), out.get(),
                           weight.get(), rgb.get(), colours, 2});
  const Block<float> grad_out(size);
  for (int64_t i = 0; i < size; ++i) grad_out[i] = grad[i];
  kernels().modulated_act_backward({grad.get(), true, y.get(), DType::kFloat32, images, pixels,
                                    channels, scale.get(), noise.get(), 0, bias.get(), slope,
                                    gain, clamp, style.get(), weight.get(), grad_rgb.get(),
                                    colours, grad_style.get(), grad_scale.get(),
                                    grad_weight.get(), 2});
  for (int64_t m = 0; m < images; ++m) {
    for (int64_t c = 0; c < channels; ++c) {
      double style_sum = 0.0, scale_sum = 0.0;
      for (int64_t p = 0; p < pixels; ++p) {
        const int64_t at = (m * pixels + p) * channels + c;
        const double s = scale[m * channels + c], scaled = double(x[at]) * s;
        const double z = scaled + noise[p] + bias[c];
        const double free = gain * (z > 0 ? z : slope * z);
        const double want = std::fmin(std::fmax(free, -clamp), clamp);
        double slope_y = double(grad_out[at]) * style[m * channels + c];
        for (int64_t r = 0; r < colours; ++r) {
          slope_y += double(grad_rgb[(m * colours + r) * pixels + p]) *
                     weight[(m * colours + r) * channels + c];
        }
        const double inside = std::fabs(free) < clamp ? gain * (z > 0 ? 1.0 : slope) : 0.0;
        expect_close("modulated_act y", y[at], want, 1e-6);
        expect_close("modulated_act out", out[at], want * style[m * channels + c], 1e-6);
        expect_close("modulated_act gradient", grad[at], slope_y * inside * s, 1e-5);
        style_sum += grad_out[at] * want;
        scale_sum += slope_y * inside * scaled;
      }
      expect_close("modulated_act style", grad_style[m * channels + c], style_sum, 1e-4);
      expect_close("modulated_act scale", grad_scale[m * channels + c], scale_sum, 1e-4);
    }
  }
  // Half precision, nothing but what is needed: the same accesses in other types.
  for (DType dtype : {DType::kBFloat16, DType::kFloat16}) {
    const Block<uint16_t> half(size), half_grad(size);
    kernels().modulated_act({half.get(), dtype, images, pixels, channels, nullptr, nullptr, 0,
                             bias.get(), slope, gain, clamp, nullptr, nullptr, nullptr, nullptr,
                             0, 2});
    kernels().modulated_act_backward({half_grad.get(), false, half.get(), dtype, images, pixels,
                                      channels, nullptr, nullptr, 0, bias.get(), slope, gain,
                                      clamp, nullptr, weight.get(), grad_rgb.get(), colours,
                                      nullptr, nullptr, grad_weight.get(), 2});
  }
}

void test_fir2d(int64_t height, int64_t width, int64_t channels, int64_t pad) {
  const float taps[4] = {0.5f, 1.0f, 2.0f, -1.5f};
  const int64_t rows = height + 2 * pad - 3, columns = width + 2 * pad - 3;
  const Block<float> in = normal(2 * height * width * channels);
  const Block<float> out(2 * rows * columns * channels);
  const Block<uint16_t> half(in.size), half_out(out.size);
  for (int64_t i = 0; i < in.size; ++i) in[i] = from_bfloat16(half[i] = to_bfloat16(in[i]));
  for (DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    const bool whole = dtype == DType::kFloat32;
    kernels().fir2d({whole ? static_cast<const void*>(in.get()) : half.get(),
                     whole ? static_cast<void*>(out.get()) : half_out.get(), dtype, 2, height,
                     width, channels, rows, columns, pad, {taps[0], taps[1], taps[2], taps[3]}, 2});
  }
  for (int64_t i = 0; i < out.size; ++i) {
    const int64_t c = i % channels, x = i / channels % columns;
    const int64_t y = i / channels / columns % rows, m = i / channels / columns / rows;
    double want = 0.0;
    for (int64_t j = 0; j < 16; ++j) {
      const int64_t row = y + j / 4 - pad, column = x + j % 4 - pad;
      if (row < 0 || row >= height || column < 0 || column >= width) continue;
      want += double(taps[j / 4]) * taps[j % 4] *
              in[((m * height + row) * width + column) * channels + c];
    }
    expect_close("fir2d", out[i], want, 1e-5);
    expect_close("fir2d half", from_bfloat16(half_out[i]), want, 4e-3);
  }
}

// Weights that the transform leaves alone: of one tap, the middle one, they are an outer product.
void test_conv3x3(int64_t height, int64_t width, int64_t ins, int64_t outs, bool gather,
                  bool scatter) {
  constexpr double kMiddle[6] = {0.0, -0.4714045207910317, 0.4714045207910317, 0.23570226039551584,
                                 -0.23570226039551584, 0.0};
  const int64_t images = 3, pixels = height * width, blocks = (outs + 15) / 16;
  const Block<float> in = normal(images * pixels * ins), plain = normal(outs * ins);
  const Block<float> bias = normal(outs);
  const Block<float> weight(36 * blocks * ins * 16), out(images * pixels * outs);
  for (int64_t i = 0; i < weight.size; ++i) {
    const int64_t f = i / 16 / ins / blocks, o = i / 16 / ins % blocks * 16 + i % 16;
    weight[i] = o < outs ? float(kMiddle[f / 6] * kMiddle[f % 6] * plain[o * ins + i / 16 % ins])
                         : 0.0f;
  }
  kernels().conv3x3({in.get(), weight.get(), bias.get(), out.get(), images, height, width, ins,
                     outs, gather, scatter, 2});
  // Where channel c of pixel (y, x) lies, in images of one size or the other.
  const auto at = [&](int64_t m, int64_t y, int64_t x, int64_t c, int64_t channels, bool large) {
    const int64_t each = large ? channels / 4 : channels, block = c / each, n = large ? 2 : 1;
    const int64_t row = n * y + block / 2, column = n * x + block % 2;
    return ((m * n * height + row) * n * width + column) * each + c % each;
  };
  for (int64_t p = 0; p < images * pixels; ++p) {
    const int64_t m = p / pixels, y = p / width % height, x = p % width;
    for (int64_t o = 0; o < outs; ++o) {
      double want = bias[o];
      for (int64_t c = 0; c < ins; ++c) {
        want += double(plain[o * ins + c]) * in[at(m, y, x, c, ins, gather)];
      }
      expect_close("conv3x3", out[at(m, y, x, o, outs, scatter)], want, 2e-4);
    }
  }
}

void test_all() {
  for (int64_t columns : {1, 3, 16, 123, 2048, 5003}) test_kl_uniform(5, columns);
  test_kl_uniform(1100, 2050);  // large enough for stores past the caches, rows misaligned
  for (bool half : {false, true}) {
    test_bank_lse(1, 1, 1, half, false);
    test_bank_lse(7, 121, 3, half, true);
    test_bank_lse(97, 123, 64, half, true);
    test_bank_lse(20, 9001, 33, half, false);
    test_bank_lse(14, 507, 96, half, true);
  }
  for (bool flag : {false, true}) {
    test_path_step(1, 3, 1, flag);
    test_path_step(3, 67, 33, flag);
    test_path_step(2, 130, 64, flag);
    test_path_smooth(1, 3, 1, flag);
    test_path_smooth(2, 50, 81, flag);
    test_path_smooth(1, 700, 128, flag);
  }
  test_row_distances(1, 1, 1, 1);
  test_row_distances(7, 5, 33, 33);
  test_row_distances(5, 9, 64, 70);
  test_modulated_act(1, 1, 1, 1);
  test_modulated_act(2, 7, 37, 3);
  test_modulated_act(3, 300, 20, 4);
  test_modulated_act(2, 9, 64, 0);
  for (int64_t pad : {0, 1, 2, 3}) {
    test_fir2d(4, 4, 1, pad);
    test_fir2d(6, 9, 37, pad);
    test_fir2d(17, 5, 64, pad);
  }
  test_conv3x3(1, 1, 1, 1, false, false);
  test_conv3x3(9, 6, 20, 37, false, false);
  test_conv3x3(5, 12, 64, 80, true, false);
  test_conv3x3(4, 4, 16, 128, false, true);
  const Block<float> x = normal(37, 20.0f), y(37);
  kernels().exponential(x.get(), y.get(), 37);
  for (int64_t i = 0; i < 37; ++i) expect_close("exp", y[i] / std::exp(double(x[i])), 1.0, 2e-7);
}

}  // namespace

int main() {
  for (const std::string& isa : latentpath::available_isas()) {
    latentpath::choose_isa(isa);
    test_all();
    std::printf("%s: done\n", isa.c_str());
  }
  return failures ? 1 : 0;
}
