// kl_uniform: logsumexp(l) - mean(l) - log N per row, and softmax(l) - 1/N from the same visit.
//
// A row is read from memory once: in blocks that stay in the first-level cache for their two
// passes (largest and sum, then exponentials against the running largest), and once more, from
// the second-level cache, to write the gradient. The exponentials are taken again there: two
// cheap vector exps cost less than keeping the first ones. Large gradients are written past the
// caches, which saves reading the lines that are about to be overwritten.

#include <cmath>
#include <limits>

#include "cpu/pages.h"
#include "cpu/vec.h"
#include "cpu/kernels.h"

namespace latentpath {
namespace LATENTPATH_ISA {
namespace {

constexpr int64_t kBlock = 2048;                       // logits per block: 8 KB in float32
constexpr int64_t kPastCachesBytes = int64_t(8) << 20;  // gradients from here on skip the caches

// What one row amounts to: logsumexp(l) = largest + log(exp_sum), sum of l.
struct RowSums {
  float largest = -std::numeric_limits<float>::infinity();
  double exp_sum = 0.0;  // of exp(l - largest)
  double sum = 0.0;      // of l
};

template <class Element>
LATENTPATH_INLINE void add_block(const Element* row, int64_t count, RowSums& row_sums) {
  constexpr int kUnroll = 4;
  vfloat most[kUnroll], total[kUnroll];
  for (int u = 0; u < kUnroll; ++u) {
    most[u] = splat(row_sums.largest);
    total[u] = vfloat{};
  }
  int64_t i = 0;
  for (; i + kUnroll * kLanes <= count; i += kUnroll * kLanes) {
    for (int u = 0; u < kUnroll; ++u) {
      const vfloat l = load_as_float(row + i + u * kLanes);
      most[u] = larger(most[u], l);
      total[u] += l;
    }
  }
  for (; i + kLanes <= count; i += kLanes) {
    const vfloat l = load_as_float(row + i);
    most[0] = larger(most[0], l);
    total[0] += l;
  }
  const int64_t whole = i;
  if (whole < count) {
    most[1] = larger(most[1], load_some(row + whole, count - whole, row[whole]));
    total[1] += load_some(row + whole, count - whole, Element{});
  }
  const float largest_now = largest(larger(larger(most[0], most[1]), larger(most[2], most[3])));
  row_sums.sum += sum((total[0] + total[1]) + (total[2] + total[3]));
  if (largest_now == -std::numeric_limits<float>::infinity()) return;  // all weights are 0 so far
  if (largest_now > row_sums.largest) {
    row_sums.exp_sum *= std::exp(double(row_sums.largest) - double(largest_now));
    row_sums.largest = largest_now;
  }
  vfloat exps[kUnroll] = {};
  for (i = 0; i + kUnroll * kLanes <= count; i += kUnroll * kLanes) {
    for (int u = 0; u < kUnroll; ++u) {
      exps[u] += exponential(load_as_float(row + i + u * kLanes) - row_sums.largest);
    }
  }
  for (; i + kLanes <= count; i += kLanes) {
    exps[0] += exponential(load_as_float(row + i) - row_sums.largest);
  }
  float exp_sum = sum((exps[0] + exps[1]) + (exps[2] + exps[3]));
  if (whole < count) {
    const vfloat tail = exponential(load_some(row + whole, count - whole, row[whole]) -
                                    row_sums.largest);
    for (int64_t k = 0; k < count - whole; ++k) exp_sum += tail[k];
  }
  row_sums.exp_sum += exp_sum;
}

LATENTPATH_INLINE void put(float* to, vfloat v, bool past_caches) {
  if (past_caches) {
    store_past_caches(to, v);
  } else {
    store(to, v);
  }
}

template <class Element>
LATENTPATH_INLINE void put(Element* to, vfloat v, bool) {
  store_from_float(to, v);
}

template <class Element>
LATENTPATH_INLINE void write_gradient(const Element* row, int64_t count, const RowSums& row_sums,
                                      Element* gradient, bool past_caches) {
  const float inverse = float(1.0 / row_sums.exp_sum);
  // A NaN logit makes the sum NaN; so that all of the row's gradient is NaN, it goes in here.
  const float uniform = float(1.0 / double(count)) + float(row_sums.sum != row_sums.sum
                                                               ? row_sums.sum : 0.0);
  const float most = row_sums.largest;
  int64_t i = 0;
  if (past_caches) {  // such stores need whole, aligned vectors
    const uintptr_t misaligned = uintptr_t(gradient) % sizeof(vfloat);
    const int64_t head = misaligned ? int64_t((sizeof(vfloat) - misaligned) / sizeof(Element)) : 0;
    if (head > 0 && head <= count) {
      const vfloat l = load_some(row, head, row[0]);
      store_some(gradient, exponential(l - most) * inverse - uniform, head);
      i = head;
    }
  }
  for (; i + kLanes <= count; i += kLanes) {
    const vfloat l = load_as_float(row + i);
    put(gradient + i, exponential(l - most) * inverse - uniform, past_caches);
  }
  if (i < count) {
    const vfloat l = load_some(row + i, count - i, row[i]);
    store_some(gradient + i, exponential(l - most) * inverse - uniform, count - i);
  }
}

template <class Element>
void kl_uniform_typed(const KlUniformArgs& args) {
  const Element* logits = static_cast<const Element*>(args.logits);
  Element* gradient = static_cast<Element*>(args.gradient);
  const int64_t bytes = args.rows * args.columns * int64_t(sizeof(Element));
  const bool past_caches = sizeof(Element) == 4 && gradient && bytes >= kPastCachesBytes;
  if (gradient) prefer_large_pages(gradient, bytes);
  const double log_columns = std::log(double(args.columns));

#pragma omp parallel for num_threads(args.threads) schedule(static)
  for (int64_t m = 0; m < args.rows; ++m) {
    const Element* row = logits + m * args.row_stride;
    RowSums row_sums;
    for (int64_t start = 0; start < args.columns; start += kBlock) {
      const int64_t left = args.columns - start;
      add_block(row + start, left < kBlock ? left : kBlock, row_sums);
    }
    const double mean = row_sums.sum / double(args.columns);
    args.energy[m] =
        float(std::log(row_sums.exp_sum) + (double(row_sums.largest) - mean) - log_columns);
    if (gradient) {
      write_gradient(row, args.columns, row_sums, gradient + m * args.columns, past_caches);
    }
    if (past_caches) finish_stores_past_caches();
  }
}

}  // namespace

void kl_uniform(const KlUniformArgs& args) {
  switch (args.dtype) {
    case DType::kFloat32: return kl_uniform_typed<float>(args);
    case DType::kBFloat16: return kl_uniform_typed<BFloat16>(args);
    case DType::kFloat16: return kl_uniform_typed<Float16>(args);
  }
}

void exponential_array(const float* x, float* y, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const int64_t here = count - i < kLanes ? count - i : kLanes;
    store_some(y + i, exponential(load_some(x + i, here, 0.0f)), here);
  }
}

}  // namespace LATENTPATH_ISA
}  // namespace latentpath
