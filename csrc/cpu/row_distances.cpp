// row_distances: squared Euclidean distances from many rows to a few targets, in double.
//
// Every element is widened before it is subtracted, so that nothing cancels: the result is what
// double arithmetic gives, and a copy of a row is at distance zero. Rows are read from memory once
// for all targets, as float, which halves the traffic of rows kept in double; four targets at a
// time stay in the first-level cache beside two rows. Each distance is summed in an order that
// depends on the width alone, not on its neighbours or on the number of threads.

#include "cpu/kernels.h"
#include "cpu/vec.h"

namespace latentpath {
namespace LATENTPATH_ISA {
namespace {

constexpr int kWide = kLanes / 2;  // doubles in a vector
typedef double vdouble __attribute__((vector_size(kWide * 8)));
typedef float vnarrow __attribute__((vector_size(kWide * 4)));

constexpr int kRows = 2;     // with four targets: eight sums under way, which hides FMA's latency
constexpr int kTargets = 4;

// Rows that are prefetched ahead: the hardware's prefetcher starts anew at every page, which is two
// rows of usual width.
constexpr int kRowsAhead = 8;

// Below so many subtractions, about two milliseconds, one thread does it all: a grouping calls this
// thousands of times, and on a busy machine waiting for a thread that the system has put aside
// costs more than its help is worth.
constexpr int64_t kWorthThreads = int64_t(1) << 24;

// Distances of `R` rows to `T` targets; row r's to target t goes to squared[t * rows + r].
template <int R, int T>
LATENTPATH_INLINE void distances(const float* points, int64_t row_stride, const double* targets,
                                 int64_t width, double* squared, int64_t rows) {
  vdouble sums[R][T] = {};
  int64_t d = 0;
  for (; d + kWide <= width; d += kWide) {
    vdouble row[R];
    for (int r = 0; r < R; ++r) {
      __builtin_prefetch(points + (r + kRowsAhead) * row_stride + d);
      row[r] = __builtin_convertvector(load<vnarrow>(points + r * row_stride + d), vdouble);
    }
    for (int t = 0; t < T; ++t) {
      const vdouble target = load<vdouble>(targets + t * width + d);
      for (int r = 0; r < R; ++r) {
        const vdouble apart = row[r] - target;
        sums[r][t] += apart * apart;
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int t = 0; t < T; ++t) {
      double total = 0.0;
      for (int i = 0; i < kWide; ++i) total += sums[r][t][i];
      for (int64_t k = d; k < width; ++k) {
        const double apart = double(points[r * row_stride + k]) - targets[t * width + k];
        total += apart * apart;
      }
      squared[t * rows + r] = total;
    }
  }
}

template <int R>
LATENTPATH_INLINE void all_targets(const RowDistancesArgs& args, int64_t row) {
  const float* points = args.points + row * args.row_stride;
  const int64_t m = args.targets_count;
  int64_t t = 0;
  for (; t + kTargets <= m; t += kTargets) {
    distances<R, kTargets>(points, args.row_stride, args.targets + t * args.width, args.width,
                           args.squared + t * args.rows + row, args.rows);
  }
  for (; t < m; ++t) {
    distances<R, 1>(points, args.row_stride, args.targets + t * args.width, args.width,
                    args.squared + t * args.rows + row, args.rows);
  }
}

}  // namespace

void row_distances(const RowDistancesArgs& args) {
  const int64_t pairs = args.rows / kRows;
  [[maybe_unused]] const bool large = args.rows * args.targets_count * args.width >= kWorthThreads;
#pragma omp parallel for num_threads(args.threads) schedule(static) if (large)
  for (int64_t i = 0; i < pairs; ++i) all_targets<kRows>(args, i * kRows);
  for (int64_t row = pairs * kRows; row < args.rows; ++row) all_targets<1>(args, row);
}

}  // namespace LATENTPATH_ISA
}  // namespace latentpath
