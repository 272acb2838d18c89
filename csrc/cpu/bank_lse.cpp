// bank_lse: online softmax over a bank of rows, lse and softmax mean, never [M, N].
//
// A task is one tile of queries (and, where there are few tiles, one part of the bank). It runs
// over the bank in blocks that fit the second-level cache, each used twice while it is there: as
// keys for the scores and as values for the mean. Scores are kept transposed, [bank row, query]:
// then queries lie along the vector lanes, the softmax over bank rows needs no sum across lanes,
// and neither product needs the bank packed: keys are read one element at a time and broadcast,
// values are read as vectors along D.
//
// Both products are register-blocked kernels of our own rather than calls of a BLAS: the scores
// never leave the cache, memory is bounded, float32 reaches the AVX-512 rate on every vendor's
// processor, and with a bfloat16 bank the scores stay in float32 between the two products.

#include <cmath>
#include <cstdlib>
#include <limits>

#include "cpu/kernels.h"
#include "cpu/vec.h"

namespace latentpath {
namespace LATENTPATH_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kRegisterRows = 12;  // 12 x 2 vectors of sums, out of 32 registers
#else
constexpr int kRegisterRows = 6;  // 6 x 2, out of 16
#endif
constexpr int kStep = 2 * kLanes;           // columns (queries or latent coordinates) per kernel
constexpr int64_t kTileQueries = 96;        // multiple of kStep and kRegisterRows for all lanes
constexpr int64_t kBlockRows = 120;         // bank rows per block, even
constexpr int64_t kChunk = 64;              // products per running sum, which bounds its rounding
constexpr int64_t kWantedTasks = 16;        // split the bank where there are fewer query tiles,
constexpr int64_t kLeastPart = 4096;        // but not into parts of fewer rows than this
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// ---- the arithmetic of one word: one float32, or two bfloat16 that are summed ------------------

struct Float32Words {
  typedef float Element;
  static constexpr int kElements = 1;  // per 32-bit word

  LATENTPATH_INLINE vfloat multiply_add(vfloat sum, uint32_t word, vuint words) {
    return sum + bit_cast<float>(word) * bit_cast<vfloat>(words);
  }
  // Words of kStep columns, for the kElements bank rows that begin at `rows`.
  LATENTPATH_INLINE void load_columns(const float* rows, int64_t, vuint words[2]) {
    words[0] = load<vuint>(rows);
    words[1] = load<vuint>(rows + kLanes);
  }
};

#if defined(__AVX512BF16__)
struct BFloat16Words {
  typedef BFloat16 Element;
  static constexpr int kElements = 2;

  LATENTPATH_INLINE vfloat multiply_add(vfloat sum, uint32_t word, vuint words) {
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(int32_t(word)), (__m512bh)words);
  }
  LATENTPATH_INLINE void load_columns(const BFloat16* rows, int64_t stride,
                                             vuint words[2]) {
    const __m512i even = load<__m512i>(rows), odd = load<__m512i>(rows + stride);
    // Pairs (even[d], odd[d]), d = 0..15 and 16..31.
    const __m512i low = bit_cast<__m512i>(vuint{0x00200000, 0x00210001, 0x00220002, 0x00230003,
                                                0x00240004, 0x00250005, 0x00260006, 0x00270007,
                                                0x00280008, 0x00290009, 0x002a000a, 0x002b000b,
                                                0x002c000c, 0x002d000d, 0x002e000e, 0x002f000f});
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(0x00100010));
    words[0] = bit_cast<vuint>(_mm512_permutex2var_epi16(even, low, odd));
    words[1] = bit_cast<vuint>(_mm512_permutex2var_epi16(even, high, odd));
  }
};
#endif

[[maybe_unused]] LATENTPATH_INLINE uint32_t bfloat16_bits(float x) {
  BFloat16 rounded[kLanes];
  store_from_float(rounded, splat(x));
  return rounded[0].bits;
}

// ---- kernels ---------------------------------------------------------------------------------

// scores[r, m] = scale * sum_k bank[r, k] query[m, k] + bias[r], kRows bank rows, kStep queries. The
// scale comes after the product: multiplied into bfloat16 queries it would round them once more.
template <class Words, int kRows>
LATENTPATH_INLINE void score_kernel(const typename Words::Element* bank, int64_t stride,
                                    const uint32_t* queries,  // [words, kStep]
                                    int64_t words, float scale, const float* bias, float* scores) {
  for (int64_t begin = 0; begin < words; begin += kChunk) {
    const int64_t end = begin + kChunk < words ? begin + kChunk : words;
    vfloat sums[kRows][2] = {};
    for (int64_t k = begin; k < end; ++k) {
      const vuint q0 = load<vuint>(queries + k * kStep);
      const vuint q1 = load<vuint>(queries + k * kStep + kLanes);
#pragma GCC unroll 12
      for (int r = 0; r < kRows; ++r) {
        uint32_t word;
        memcpy(&word, bank + r * stride + k * Words::kElements, sizeof(word));
        sums[r][0] = Words::multiply_add(sums[r][0], word, q0);
        sums[r][1] = Words::multiply_add(sums[r][1], word, q1);
      }
    }
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      float* row = scores + r * kTileQueries;
      const vfloat offset = splat(bias ? bias[r] : 0.0f);
      store(row, sums[r][0] * scale + (begin ? load(row) : offset));
      store(row + kLanes, sums[r][1] * scale + (begin ? load(row + kLanes) : offset));
    }
  }
}

// total[m, d] = total[m, d] * rescale[m] + sum_n weight[n, m] bank[n, d], kRows queries m and
// kStep columns d. `weights` are words [bank rows / kElements, kTileQueries].
template <class Words, int kRows>
LATENTPATH_INLINE void mean_kernel(const uint32_t* weights, const typename Words::Element* bank,
                                   int64_t stride, int64_t bank_rows, const float* rescale,
                                   float* total, int64_t total_stride) {
  vfloat sums[kRows][2];
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) {
    sums[r][0] = load(total + r * total_stride) * rescale[r];
    sums[r][1] = load(total + r * total_stride + kLanes) * rescale[r];
  }
  for (int64_t n = 0; n < bank_rows; n += Words::kElements) {
    vuint words[2];
    Words::load_columns(bank + n * stride, stride, words);
    const uint32_t* weight = weights + n / Words::kElements * kTileQueries;
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      sums[r][0] = Words::multiply_add(sums[r][0], weight[r], words[0]);
      sums[r][1] = Words::multiply_add(sums[r][1], weight[r], words[1]);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) {
    store(total + r * total_stride, sums[r][0]);
    store(total + r * total_stride + kLanes, sums[r][1]);
  }
}

// Calls kernel<R> for a number of rows that is known only now.
template <class Words, int kRows, class... Args>
LATENTPATH_INLINE void score_rows(int64_t rows, Args... args) {
  if (rows == kRows) return score_kernel<Words, kRows>(args...);
  if constexpr (kRows > 1) score_rows<Words, kRows - 1>(rows, args...);
}

template <class Words, int kRows, class... Args>
LATENTPATH_INLINE void mean_rows(int64_t rows, Args... args) {
  if (rows == kRows) return mean_kernel<Words, kRows>(args...);
  if constexpr (kRows > 1) mean_rows<Words, kRows - 1>(rows, args...);
}

// ---- one tile of queries against one part of the bank ------------------------------------------

LATENTPATH_INLINE int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Scratch memory of one thread, reused by all of its tasks.
template <class Words>
struct Scratch {
  int64_t width;            // D rounded up to kStep
  uint32_t* queries;        // [kTileQueries / kStep, words, kStep]
  float* scores;            // [kBlockRows, kTileQueries], then the weights
  uint32_t* weights;        // [kBlockRows / 2, kTileQueries] pairs of weights (bfloat16 only)
  float* total;             // [kTileQueries, width] weighted sum of bank rows
  typename Words::Element* block;  // [kBlockRows, width] where the bank cannot be used as it is
  float *largest, *rescale, *weight_sum, *row;  // [kTileQueries] each, row [width]

  explicit Scratch(int64_t d) : width(round_up(d, kStep)) {
    const int64_t sizes[] = {kTileQueries * width, kBlockRows * kTileQueries,
                             kBlockRows * kTileQueries / 2, kTileQueries * width,
                             kBlockRows * width, kTileQueries, kTileQueries, kTileQueries, width};
    int64_t words = 0;
    for (int64_t size : sizes) words += round_up(size, 16);
    memory = static_cast<float*>(aligned_alloc(64, size_t(words) * 4));
    float* next = memory;
    float* parts[9];
    for (int i = 0; i < 9; ++i) {
      parts[i] = next;
      next += round_up(sizes[i], 16);
    }
    queries = reinterpret_cast<uint32_t*>(parts[0]);
    scores = parts[1];
    weights = reinterpret_cast<uint32_t*>(parts[2]);
    total = parts[3];
    block = reinterpret_cast<typename Words::Element*>(parts[4]);
    largest = parts[5];
    rescale = parts[6];
    weight_sum = parts[7];
    row = parts[8];
  }
  ~Scratch() { free(memory); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

 private:
  float* memory;
};

template <class From, class To>
LATENTPATH_INLINE void convert_row(const From* from, int64_t count, To* to) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store_from_float(to + i, load_as_float(from + i));
  if (i < count) store_some(to + i, load_some(from + i, count - i, From{}), count - i);
}

// Row `index` of a [*, width] array of any element type.
template <class To>
void convert_row(const void* rows, DType dtype, int64_t index, int64_t width, To* to) {
  const int64_t at = index * width;
  switch (dtype) {
    case DType::kFloat32: return convert_row(static_cast<const float*>(rows) + at, width, to);
    case DType::kBFloat16: return convert_row(static_cast<const BFloat16*>(rows) + at, width, to);
    case DType::kFloat16: return convert_row(static_cast<const Float16*>(rows) + at, width, to);
  }
}

template <class Words>
void pack_queries(const BankLseArgs& args, int64_t first, int64_t count, Scratch<Words>& scratch) {
  const int64_t words = scratch.width / Words::kElements;
  const int64_t padded = round_up(count, kStep);
  memset(scratch.queries, 0, size_t(padded * words) * 4);
  for (int64_t d = args.width; d < scratch.width; ++d) scratch.row[d] = 0.0f;
  for (int64_t m = 0; m < count; ++m) {
    convert_row(args.query, args.query_dtype, first + m, args.width, scratch.row);
    uint32_t* packed = scratch.queries + m / kStep * words * kStep + m % kStep;
    for (int64_t k = 0; k < words; ++k) {
      const float* row = scratch.row + k * Words::kElements;
      if constexpr (Words::kElements == 1) {
        packed[k * kStep] = bit_cast<uint32_t>(row[0]);
      } else {
        packed[k * kStep] = bfloat16_bits(row[0]) | bfloat16_bits(row[1]) << 16;
      }
    }
  }
}

// The online softmax's step: scores of `rows` new bank rows become weights against the new
// largest score; `rescale` is what the sums so far must be multiplied by.
template <class Words>
LATENTPATH_INLINE void update_softmax(int64_t rows, int64_t queries, Scratch<Words>& scratch) {
  for (int64_t m = 0; m < queries; m += kLanes) {
    float* scores = scratch.scores + m;
    const vfloat before = load(scratch.largest + m);
    vfloat now = before;
    for (int64_t n = 0; n < rows; ++n) now = larger(now, load(scores + n * kTileQueries));
    // Where every score so far is -inf, subtract 0 instead: all weights are 0, none is NaN.
    const vfloat reference = now == splat(-kInfinity) ? vfloat{} : now;
    const vfloat rescale = exponential(before - reference);
    vfloat weight_sum = load(scratch.weight_sum + m) * rescale;
    vfloat sums[2] = {};
    for (int64_t n = 0; n + 1 < rows; n += 2) {
      const vfloat even = exponential(load(scores + n * kTileQueries) - reference);
      const vfloat odd = exponential(load(scores + (n + 1) * kTileQueries) - reference);
      sums[0] += even;
      sums[1] += odd;
      store(scores + n * kTileQueries, even);
      store(scores + (n + 1) * kTileQueries, odd);
    }
    if (rows % 2) {
      const vfloat last = exponential(load(scores + (rows - 1) * kTileQueries) - reference);
      sums[0] += last;
      store(scores + (rows - 1) * kTileQueries, last);
    }
    store(scratch.largest + m, now);
    store(scratch.rescale + m, rescale);
    store(scratch.weight_sum + m, weight_sum + (sums[0] + sums[1]));
  }
}

// Weights as words: float32 as they are; bfloat16 in pairs of consecutive bank rows.
template <class Words>
LATENTPATH_INLINE const uint32_t* weight_words(int64_t rows, int64_t queries,
                                               Scratch<Words>& scratch) {
  if constexpr (Words::kElements == 1) {
    return reinterpret_cast<const uint32_t*>(scratch.scores);
  } else {
    for (int64_t n = 0; n < rows; n += 2) {
      for (int64_t m = 0; m < queries; m += kLanes) {
        const float* even = scratch.scores + n * kTileQueries + m;
        BFloat16 low[kLanes], high[kLanes];
        store_from_float(low, load(even));
        store_from_float(high, n + 1 < rows ? load(even + kTileQueries) : vfloat{});
        store(scratch.weights + n / 2 * kTileQueries + m,
              widen(load<vhalf>(low)) | widen(load<vhalf>(high)) << 16);
      }
    }
    return scratch.weights;
  }
}

// Adds `rows` bank rows to the sums of `queries` packed queries.
template <class Words>
void add_block(const typename Words::Element* block, int64_t stride, int64_t rows, float scale,
               const float* bias, int64_t queries, Scratch<Words>& scratch) {
  const int64_t words = scratch.width / Words::kElements;
  for (int64_t n = 0; n < rows; n += kRegisterRows) {
    const int64_t here = rows - n < kRegisterRows ? rows - n : kRegisterRows;
    for (int64_t m = 0; m < queries; m += kStep) {
      score_rows<Words, kRegisterRows>(
          here, block + n * stride, stride,
          static_cast<const uint32_t*>(scratch.queries + m * words), words, scale,
          bias ? bias + n : nullptr, scratch.scores + n * kTileQueries + m);
    }
  }
  update_softmax(rows, round_up(queries, kLanes), scratch);
  const uint32_t* weights = weight_words(rows, round_up(queries, kLanes), scratch);
  for (int64_t d = 0; d < scratch.width; d += kStep) {
    for (int64_t m = 0; m < queries; m += kRegisterRows) {
      const int64_t here = queries - m < kRegisterRows ? queries - m : kRegisterRows;
      mean_rows<Words, kRegisterRows>(here, weights + m, block + d, stride, rows,
                                      static_cast<const float*>(scratch.rescale + m),
                                      scratch.total + m * scratch.width + d, scratch.width);
    }
  }
}

template <class Words>
void run_task(const BankLseArgs& args, bool direct, int64_t first_query, int64_t queries,
              int64_t begin, int64_t end, Scratch<Words>& scratch) {
  typedef typename Words::Element Element;
  pack_queries(args, first_query, queries, scratch);
  memset(scratch.total, 0, size_t(kTileQueries * scratch.width) * 4);
  for (int64_t m = 0; m < kTileQueries; ++m) {
    scratch.largest[m] = -kInfinity;
    scratch.weight_sum[m] = 0.0f;
  }
  for (int64_t n = begin; n < end; n += kBlockRows) {
    const int64_t rows = end - n < kBlockRows ? end - n : kBlockRows;
    const Element* block = static_cast<const Element*>(args.bank) + n * args.width;
    int64_t stride = args.width;
    // An odd last row has no partner in its word; its copy gets a row of zeros beside it.
    if (!direct || rows % Words::kElements) {
      stride = scratch.width;
      memset(scratch.block, 0, size_t(round_up(rows, 2) * stride) * sizeof(Element));
      for (int64_t r = 0; r < rows; ++r) {
        convert_row(args.bank, args.bank_dtype, n + r, args.width, scratch.block + r * stride);
      }
      block = scratch.block;
    }
    add_block(block, stride, rows, args.scale, args.bias ? args.bias + n : nullptr, queries, scratch);
  }
}

// ---- all tasks ---------------------------------------------------------------------------------

// What a task leaves behind when the bank is split: [splits, M] and [splits, M, D].
struct Partials {
  float *largest, *weight_sum, *total;
};

void finish_row(float largest, float weight_sum, const float* total, int64_t width, float* lse,
                float* mean) {
  *lse = largest == -kInfinity && weight_sum == 0.0f ? largest : largest + std::log(weight_sum);
  for (int64_t d = 0; d < width; ++d) mean[d] = total[d] / weight_sum;
}

// Merges the parts of one query, always in the same order.
void merge_row(const BankLseArgs& args, const Partials& partials, int64_t splits, int64_t m) {
  float largest = -kInfinity;
  for (int64_t s = 0; s < splits; ++s) {
    const float part = partials.largest[s * args.rows + m];
    largest = part > largest ? part : largest;
  }
  const float reference = largest == -kInfinity ? 0.0f : largest;
  float weight_sum = 0.0f;
  float* mean = args.mean + m * args.width;
  for (int64_t d = 0; d < args.width; ++d) mean[d] = 0.0f;
  for (int64_t s = 0; s < splits; ++s) {
    const int64_t at = s * args.rows + m;
    const float factor = std::exp(partials.largest[at] - reference);
    weight_sum += factor * partials.weight_sum[at];
    const float* total = partials.total + at * args.width;
    for (int64_t d = 0; d < args.width; ++d) mean[d] += factor * total[d];
  }
  finish_row(largest, weight_sum, mean, args.width, args.lse + m, mean);
}

template <class Words>
void bank_lse_words(const BankLseArgs& args, bool direct) {
  const int64_t tiles = (args.rows + kTileQueries - 1) / kTileQueries;
  // Splitting depends on the shapes alone, so that sums do not depend on the number of threads.
  int64_t splits = (kWantedTasks + tiles - 1) / tiles;
  const int64_t most = (args.bank_rows + kLeastPart - 1) / kLeastPart;
  splits = splits < most ? splits : most;
  const int64_t part = round_up((args.bank_rows + splits - 1) / splits, kBlockRows);
  splits = (args.bank_rows + part - 1) / part;

  Partials partials = {};
  if (splits > 1) {
    partials.largest = static_cast<float*>(malloc(size_t(splits * args.rows) * 4));
    partials.weight_sum = static_cast<float*>(malloc(size_t(splits * args.rows) * 4));
    partials.total = static_cast<float*>(malloc(size_t(splits * args.rows * args.width) * 4));
  }
#pragma omp parallel num_threads(args.threads)
  {
    Scratch<Words> scratch(args.width);
#pragma omp for schedule(dynamic, 1)
    for (int64_t task = 0; task < tiles * splits; ++task) {
      const int64_t first = task / splits * kTileQueries, split = task % splits;
      const int64_t left = args.rows - first;
      const int64_t queries = left < kTileQueries ? left : kTileQueries;
      const int64_t begin = split * part;
      const int64_t end = begin + part < args.bank_rows ? begin + part : args.bank_rows;
      run_task(args, direct, first, queries, begin, end, scratch);
      for (int64_t m = 0; m < queries; ++m) {
        const float* total = scratch.total + m * scratch.width;
        if (splits == 1) {
          finish_row(scratch.largest[m], scratch.weight_sum[m], total, args.width,
                     args.lse + first + m, args.mean + (first + m) * args.width);
          continue;
        }
        const int64_t at = split * args.rows + first + m;
        partials.largest[at] = scratch.largest[m];
        partials.weight_sum[at] = scratch.weight_sum[m];
        memcpy(partials.total + at * args.width, total, size_t(args.width) * 4);
      }
    }
    if (splits > 1) {
#pragma omp for schedule(static)
      for (int64_t m = 0; m < args.rows; ++m) merge_row(args, partials, splits, m);
    }
  }
  free(partials.largest);
  free(partials.weight_sum);
  free(partials.total);
}

}  // namespace

void bank_lse(const BankLseArgs& args) {
  if (args.rows == 0) return;
  const bool whole_steps = args.width % kStep == 0;
#if defined(__AVX512BF16__)
  if (args.bank_dtype == DType::kBFloat16) {
    return bank_lse_words<BFloat16Words>(args, whole_steps);
  }
#endif
  bank_lse_words<Float32Words>(args, whole_steps && args.bank_dtype == DType::kFloat32);
}

}  // namespace LATENTPATH_ISA
}  // namespace latentpath
