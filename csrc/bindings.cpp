// latentpath._C: the kernels for Python, which passes addresses, sizes, and how many threads work on
// the CPU or which stream on the GPU.
//
// The module knows nothing of PyTorch, so one build serves every version of it. Callers
// (latentpath/ops) have checked shapes, dtypes, devices and layouts.

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <stdexcept>

#include "cpu/dispatch.h"
#if defined(LATENTPATH_CUDA)
#include "cuda/launch.h"
#endif
#if defined(_OPENMP)
#include <omp.h>
#endif

namespace py = pybind11;

namespace latentpath {
namespace {

using Address = uintptr_t;

template <class T>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}

int thread_count(int64_t threads) {
#if defined(_OPENMP)
  return threads < 1 ? 1 : static_cast<int>(threads);
#else
  (void)threads;
  return 1;
#endif
}

void kl_uniform(Address logits, int dtype, int64_t rows, int64_t columns, int64_t row_stride,
                Address energy, Address gradient, int64_t threads) {
  kernels().kl_uniform({at<const void>(logits), static_cast<DType>(dtype), rows, columns,
                        row_stride, at<float>(energy), at<void>(gradient), thread_count(threads)});
}

void bank_lse(Address query, int query_dtype, Address bank, int bank_dtype, Address bias,
              int64_t rows, int64_t bank_rows, int64_t width, double scale, Address lse,
              Address mean, int64_t threads) {
  kernels().bank_lse({at<const void>(query), static_cast<DType>(query_dtype),
                      at<const void>(bank), static_cast<DType>(bank_dtype), at<const float>(bias),
                      rows, bank_rows, width, static_cast<float>(scale), at<float>(lse),
                      at<float>(mean), thread_count(threads)});
}

// Addresses: query, bank, bias, lse, mean, part_lse, part_mean; 0 stands for none. Shape: rows,
// bank_rows, part.
void bank_lse_sm90(std::array<Address, 7> a, int dtype, std::array<int64_t, 3> shape, double scale,
                   Address stream) {
#if defined(LATENTPATH_SM90)
  cuda::bank_lse_sm90(
      {at<const void>(a[0]), at<const void>(a[1]), at<const float>(a[2]),
       static_cast<DType>(dtype), shape[0], shape[1], shape[2], static_cast<float>(scale),
       at<float>(a[3]), at<float>(a[4]), at<float>(a[5]), at<float>(a[6])},
      at<void>(stream));
#else
  (void)a, (void)dtype, (void)shape, (void)scale, (void)stream;
  throw std::runtime_error("latentpath._C was built without kernels for sm_90a");
#endif
}

void path_step(bool on_gpu, Address path, Address guide, Address exp_avg, Address exp_avg_sq,
               Address step, Address lr, Address mask, std::array<int64_t, 3> shape,
               std::array<double, 5> numbers, Address sums, Address borders, int64_t threads,
               Address stream) {
  const auto [guide_weight, smooth_weight, beta1, beta2, eps] = numbers;
  const PathStepArgs args{at<float>(path),   at<const float>(guide), at<float>(exp_avg),
                          at<float>(exp_avg_sq), at<int64_t>(step),  at<const float>(lr),
                          at<const bool>(mask), shape[0], shape[1],  shape[2],
                          guide_weight,      smooth_weight,          beta1,
                          beta2,             eps,                    at<double>(sums),
                          at<float>(borders), on_gpu ? 0 : thread_count(threads)};
  if (!on_gpu) return kernels().path_step(args);
#if defined(LATENTPATH_CUDA)
  cuda::path_step(args, at<void>(stream));
#else
  (void)stream;
  throw std::runtime_error("latentpath._C was built without CUDA");
#endif
}

void path_smooth(bool on_gpu, Address rhs, std::array<int64_t, 3> shape, double alpha,
                 bool zero_ends, Address inverse_pivots, int64_t threads, Address stream,
                 Address between, std::array<int64_t, 2> segments) {
  const PathSmoothArgs args{at<float>(rhs),
                            shape[0],
                            shape[1],
                            shape[2],
                            static_cast<float>(alpha),
                            zero_ends,
                            at<const float>(inverse_pivots),
                            on_gpu ? 0 : thread_count(threads)};
  if (!on_gpu) return kernels().path_smooth(args);
#if defined(LATENTPATH_CUDA)
  cuda::path_smooth(args, {at<float>(between), segments[0], segments[1]}, at<void>(stream));
#else
  (void)stream;
  (void)between;
  (void)segments;
  throw std::runtime_error("latentpath._C was built without CUDA");
#endif
}

void row_distances(Address points, Address targets, int64_t rows, int64_t targets_count,
                   int64_t width, int64_t row_stride, Address squared, int64_t threads) {
  kernels().row_distances({at<const float>(points), at<const double>(targets), rows, targets_count,
                           width, row_stride, at<double>(squared), thread_count(threads)});
}

// Addresses: x, scale, noise, bias, style, out, rgb_weight, rgb; 0 stands for none.
// Shape: images, pixels, channels, rgb_channels, noise_stride. Numbers: slope, gain, clamp.
void modulated_act(std::array<Address, 8> a, int dtype, std::array<int64_t, 5> shape,
                   std::array<float, 3> numbers, int64_t threads) {
  kernels().modulated_act({at<void>(a[0]), static_cast<DType>(dtype), shape[0], shape[1], shape[2],
                           at<const float>(a[1]), at<const float>(a[2]), shape[4],
                           at<const float>(a[3]), numbers[0], numbers[1], numbers[2],
                           at<const float>(a[4]), at<void>(a[5]), at<const float>(a[6]),
                           at<float>(a[7]), shape[3], thread_count(threads)});
}

// Addresses: grad, y, scale, noise, bias, style, rgb_weight, grad_rgb, grad_style, grad_log_scale,
// grad_rgb_weight; shape and numbers as above.
void modulated_act_backward(std::array<Address, 11> a, bool has_grad, int dtype,
                            std::array<int64_t, 5> shape, std::array<float, 3> numbers,
                            int64_t threads) {
  kernels().modulated_act_backward(
      {at<void>(a[0]), has_grad, at<const void>(a[1]), static_cast<DType>(dtype), shape[0],
       shape[1], shape[2], at<const float>(a[2]), at<const float>(a[3]), shape[4],
       at<const float>(a[4]), numbers[0], numbers[1], numbers[2], at<const float>(a[5]),
       at<const float>(a[6]), at<const float>(a[7]), shape[3], at<float>(a[8]), at<float>(a[9]),
       at<float>(a[10]), thread_count(threads)});
}

void fir2d(Address in, Address out, int dtype, std::array<int64_t, 4> shape,
           std::array<int64_t, 2> out_shape, int64_t pad, std::array<float, 4> taps,
           int64_t threads) {
  kernels().fir2d({at<const void>(in), at<void>(out), static_cast<DType>(dtype), shape[0],
                   shape[1], shape[2], shape[3], out_shape[0], out_shape[1], pad,
                   {taps[0], taps[1], taps[2], taps[3]}, thread_count(threads)});
}

// Addresses: in, weight, bias, out; 0 stands for none. Shape: images, height, width, in_channels,
// out_channels.
void conv3x3(std::array<Address, 4> a, std::array<int64_t, 5> shape, bool gather, bool scatter,
             int64_t threads) {
  kernels().conv3x3({at<const float>(a[0]), at<const float>(a[1]), at<const float>(a[2]),
                     at<float>(a[3]), shape[0], shape[1], shape[2], shape[3], shape[4], gather,
                     scatter, thread_count(threads)});
}

void exponential(Address x, Address y, int64_t count) {
  kernels().exponential(at<const float>(x), at<float>(y), count);
}

}  // namespace
}  // namespace latentpath

PYBIND11_MODULE(_C, module) {
  using namespace latentpath;
  using release = py::call_guard<py::gil_scoped_release>;
  using py::literals::operator""_a;
  module.doc() = "Compiled kernels of latentpath; call them through latentpath.ops.";

  module.def("kl_uniform", &kl_uniform, release());
  module.def("bank_lse", &bank_lse, release());
  module.def("bank_lse_sm90", &bank_lse_sm90, release(), "addresses"_a, "dtype"_a, "shape"_a,
             "scale"_a, "stream"_a = 0);
  module.def("path_step", &path_step, release(), "on_gpu"_a, "path"_a, "guide"_a, "exp_avg"_a,
             "exp_avg_sq"_a, "step"_a, "lr"_a, "mask"_a, "shape"_a, "numbers"_a, "sums"_a,
             "borders"_a, "threads"_a, "stream"_a = 0);
  module.def("path_smooth", &path_smooth, release(), "on_gpu"_a, "rhs"_a, "shape"_a, "alpha"_a,
             "zero_ends"_a, "inverse_pivots"_a, "threads"_a, "stream"_a = 0, "between"_a = 0,
             "segments"_a = std::array<int64_t, 2>{});
  module.def("row_distances", &row_distances, release());
  module.def("modulated_act", &modulated_act, release());
  module.def("modulated_act_backward", &modulated_act_backward, release());
  module.def("fir2d", &fir2d, release());
  module.def("conv3x3", &conv3x3, release());
  module.def("path_step_chunks", &path_step_chunks, "Chunks that path_step splits T points into.");
  module.def("exponential", &exponential, "The kernels' exp on float32 arrays, for tests.");

  module.def("isas", &available_isas, "Instruction sets this processor can run, best first.");
  module.def("isa", [] { return std::string(kernels().isa); }, "The instruction set in use.");
  module.def(
      "choose_isa",
      [](const std::string& isa) {
        if (!choose_isa(isa)) throw py::value_error("no kernels for instruction set " + isa);
      },
      "Use another instruction set's kernels, for tests and measurements.");
#if defined(LATENTPATH_CUDA)
  module.attr("has_cuda") = true;
  module.attr("cuda_architectures") = LATENTPATH_CUDA_ARCHITECTURES;
#else
  module.attr("has_cuda") = false;
  module.attr("cuda_architectures") = "";
#endif
#if defined(LATENTPATH_SM90)
  module.attr("has_sm90") = true;
#else
  module.attr("has_sm90") = false;
#endif
#if defined(_OPENMP)
  module.attr("has_openmp") = true;
#else
  module.attr("has_openmp") = false;
#endif
}
