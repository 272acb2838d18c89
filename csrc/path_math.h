// Arithmetic of the path kernels, written once for the C++ and the CUDA loops.
//
// Every function is for one latent coordinate of one point. Loops, layout and
// threads belong to the kernels; nothing here touches memory.
#pragma once

#include <math.h>

#ifdef __CUDACC__
#define LATENTPATH_INLINE static __host__ __device__ __forceinline__
#else
// Always inlined, never emitted: the C++ sources are compiled once per instruction set, and a
// shared out-of-line copy could carry instructions that the processor lacks.
#define LATENTPATH_INLINE static inline __attribute__((always_inline))
#endif

namespace latentpath {

// What one Adam step of one path needs; everything that does not depend on the point.
struct StepScalars {
  float smooth_weight;    // lambda_s, factor on the smoothness gradient
  float guide_weight;     // factor on the guide's gradient
  float beta1, beta2;     // decay of the moments
  float fresh1, fresh2;   // 1 - beta, rounded once from double
  float step_size;        // lr / (1 - beta1^step)
  float root_correction;  // 1 / sqrt(1 - beta2^step)
  float eps;              // added to the denominator
};

// One coordinate of one point after its Adam step.
struct SteppedPoint {
  float position, first_moment, second_moment;
};

// 1 - beta^step, without the cancellation of that form and without pow, whose slow path costs a GPU
// thread registers.
LATENTPATH_INLINE double bias_correction(double beta, double step) {
  return -expm1(step * log(beta));
}

// The scalars of the step-th update (1 is the first); corrections in double, as PyTorch has them.
LATENTPATH_INLINE StepScalars step_scalars(double smooth_weight, double guide_weight, double beta1,
                                           double beta2, double eps, double lr, double step) {
  StepScalars s;
  s.smooth_weight = static_cast<float>(smooth_weight);
  s.guide_weight = static_cast<float>(guide_weight);
  s.beta1 = static_cast<float>(beta1);
  s.beta2 = static_cast<float>(beta2);
  s.fresh1 = static_cast<float>(1.0 - beta1);
  s.fresh2 = static_cast<float>(1.0 - beta2);
  s.step_size = static_cast<float>(lr / bias_correction(beta1, step));
  s.root_correction = static_cast<float>(1.0 / sqrt(bias_correction(beta2, step)));
  s.eps = static_cast<float>(eps);
  return s;
}

// Gradient of lambda_s |w_{t+1} - w_t|^2 summed over t, at w_t. Differences first: neighbouring
// points are close, so their difference is exact where 2 w_t - w_{t-1} - w_{t+1} would cancel.
LATENTPATH_INLINE float smoothness_gradient(float before, float here, float after, float weight) {
  return 2.0f * weight * ((here - before) - (after - here));
}

// Adam (Kingma and Ba, 2015) in PyTorch's form: eps outside the root of the corrected moment.
LATENTPATH_INLINE SteppedPoint adam_step(float here, float gradient, float first, float second,
                                         const StepScalars& s) {
  SteppedPoint next;
  next.first_moment = s.beta1 * first + s.fresh1 * gradient;
  next.second_moment = s.beta2 * second + s.fresh2 * gradient * gradient;
  const float denominator = sqrtf(next.second_moment) * s.root_correction + s.eps;
  next.position = here - s.step_size * next.first_moment / denominator;
  return next;
}

// Thomas' algorithm for I + alpha L. `inverse_pivot` is 1 / p_t (ops/path_smooth.py).
// Forward: y_t = (rhs_t + alpha y_{t-1}) / p_t.
LATENTPATH_INLINE float eliminate(float rhs, float before, float alpha, float inverse_pivot) {
  return (rhs + alpha * before) * inverse_pivot;
}

// Backward: x_t = y_t + (alpha / p_t) x_{t+1}.
LATENTPATH_INLINE float substitute(float eliminated, float after, float alpha,
                                   float inverse_pivot) {
  return eliminated + alpha * inverse_pivot * after;
}

}  // namespace latentpath
