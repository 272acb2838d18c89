// The body of bank_lse's kernel for Hopper, D = 512: what a block of threads does.
//
// Written with the functions of cuda/hopper.h alone, so that csrc/tests/bank_lse_sm90_test.cpp runs
// it on the processor with those of hopper_emulation.h; include one of the two before.
//
// Who does what is after FlashMLA (DeepSeek, 2025: attention whose key and value are one row of
// 512, two warp groups with 256 columns each), that sums are rarely rescaled after
// FlashAttention-4.
//
// A block owns 64 queries and runs over a part of the bank, 128 rows a round. Their sums, [64, 512]
// in float32, fill the registers of two warp groups, 256 columns each. In a round each warp group
// takes the scores of 64 rows, a tile of its own, and both need the weights of both tiles. Thread t
// of one group has the queries that thread t of the other one has, and the products take weights
// from registers in the very places in which scores leave them, so that a thread hands its weights
// to its counterpart and to nobody else, 16 registers through shared memory.
//
// Weights are exp2(score - reference), the reference a whole number for each query that both groups
// share. It is raised to the largest score only where that is larger by more than kSlack (exact in
// float32: 2^8 times a weight of 1), so that the sums are hardly ever rescaled. Group 0 goes first:
// it takes its weights by the reference that its own scores ask for and hands over both; group 1
// may raise it once more, and hands over its own. So while one group waits for scores the other one
// takes exponentials:
//
//   group 0: scores 0 | weights 0 | sums += weights 0 | wait for group 1 | sums += weights 1
//   group 1:   scores 1 | wait for group 0 | sums += weights 0, weights 1 | sums += weights 1
//
// A tile lies in shared memory as 8 pieces of 64 x 64, each a copy of its own with its own barrier:
// scores begin with the first one. It is read as keys by one group and as values by both, a half
// (4 pieces) by each; who reads a half last, as values, gives its place back, and one warp for each
// of the four halves copies the next round's.
#pragma once

#include <cstdint>

namespace latentpath {
namespace bank_lse_sm90 {

using namespace hopper;

constexpr int kWidth = 512;
constexpr int kQueries = 64;
constexpr int kTile = 64;           // rows of the bank that a warp group takes the scores of
constexpr int kRound = 2 * kTile;   // rows of the bank a round
constexpr int kPiece = 64;          // columns of a piece
constexpr int kPieces = kWidth / kPiece;
constexpr int kHalf = kPieces / 2;  // pieces of a half, and warps of a group
constexpr int kGroupThreads = 128;
constexpr int kThreads = 3 * kGroupThreads;  // two groups that compute, one that copies
constexpr uint32_t kRowBytes = kPiece * 2;
constexpr uint32_t kPieceBytes = kTile * kRowBytes;
constexpr uint32_t kEightRows = 8 * kRowBytes;
constexpr int kSteps = kTile / 16;  // products take 16 columns, or 16 rows, at a time
constexpr float kSlack = 8.0f;
constexpr float kLog2E = 1.4426950408889634f;
constexpr float kLn2 = 0.6931471805599453f;
constexpr float kInfinity = __builtin_huge_valf();
constexpr float kLowest = -3.4028234663852886e38f;  // the reference before the first score

struct Problem {
  const float* bias;        // [N] or null
  int rows, bank_rows;      // M, N
  int part;                 // rows of the bank that a block runs over, whole rounds
  float scale_log2;         // the op's scale times log2(e)
  float* lse;               // [parts, M]
  float* mean;              // [parts, M, 512]
};

// What lies in shared memory behind the pieces.
struct Exchange {
  Fragment weights[2][kSteps][kGroupThreads];  // by group
  float2 references[2][kGroupThreads];
  float4 weight_sums[2][kGroupThreads];
  uint64_t query_loaded;
  uint64_t piece_loaded[2][kPieces];  // by tile
  uint64_t half_used[2][2];           // by tile and half
  uint64_t handed_over[2][kHalf];     // by group and warp
};

struct Memory {
  uint32_t query;  // 8 pieces, and behind them the bank's, 2 tiles of 8
  Exchange* exchange;
};

constexpr uint32_t kExchangeAt = 3 * kPieces * kPieceBytes;
constexpr uint32_t kSharedBytes = kExchangeAt + sizeof(Exchange);

// Where a piece of the bank lies, from the queries.
__device__ __forceinline__ constexpr uint32_t piece_offset(int tile, int piece) {
  return uint32_t(kPieces + tile * kPieces + piece) * kPieceBytes;
}

// Matrix descriptors of 16-bit numbers that lie in rows of 128 bytes, 64 numbers, swizzled by 128
// bytes (1 in bits 62 and 63): 16-byte chunk c of row r lies at c ^ (r % 8). A descriptor plus n is
// that of what lies 16 n bytes further on.
__device__ __forceinline__ uint64_t descriptor(uint32_t address, uint32_t leading_offset,
                                               uint32_t stride_offset) {
  return uint64_t((address & 0x3ffff) >> 4) | uint64_t(leading_offset >> 4) << 16 |
         uint64_t(stride_offset >> 4) << 32 | uint64_t(1) << 62;
}

// The reference after scores of which the largest is `most`. Where that is +inf weights of +inf are
// wanted, as are weights of NaN for scores of NaN, which `most` knows nothing of.
__device__ __forceinline__ float raised(float reference, float most) {
  if (!(most > reference + kSlack)) return reference;
  return most < kInfinity ? ceilf(most) : fmaxf(reference, 0.0f);
}

// A thread of group 0 or 1. Of the scores [64, 64] it has rows `lane / 4` and 8 more of its warp's
// 16, and of them two neighbouring columns of every 8; likewise of the sums [64, 256].
template <bool kBFloat16, int kGroup>
struct Thread {
  const Problem& problem;
  const Memory& memory;
  const int begin;  // first row of the bank
  const int thread, warp, lane;
  float sums[128];
  float scores[32];  // before scaling; in base 2 after it
  float offsets[16];
  Fragment weights[kSteps], others[kSteps];
  float2 reference;
  float2 factor;  // that brings sums to the reference
  float2 weight_sum, rounded_sum;  // of weights as they are, and as products take them

  __device__ __forceinline__ Thread(const Problem& p, const Memory& m, int first)
      : problem(p),
        memory(m),
        begin(first),
        thread(thread_index() % kGroupThreads),
        warp(thread / 32),
        lane(thread % 32),
        reference{kLowest, kLowest},
        weight_sum{0.0f, 0.0f},
        rounded_sum{0.0f, 0.0f} {
#pragma unroll
    for (int i = 0; i < 128; ++i) sums[i] = 0.0f;
  }

  // The bank's row of this thread's first score in a round.
  __device__ __forceinline__ int first_row(int round) const {
    return begin + round * kRound + kGroup * kTile + lane % 4 * 2;
  }

  // Whether the round's last rows of this group's tile lie beyond the bank.
  __device__ __forceinline__ bool ends_in(int round) const {
    return begin + round * kRound + (kGroup + 1) * kTile > problem.bank_rows;
  }

  // Loads what is added to scores, -inf beyond the bank; nothing here waits for it.
  __device__ __forceinline__ void load_offsets(int round) {
    const int row = first_row(round), left = problem.bank_rows - row;
    const float* bias = problem.bias + row;
    if (problem.bias != nullptr && !ends_in(round)) {
#pragma unroll
      for (int i = 0; i < 16; ++i) offsets[i] = load_constant(bias + i / 2 * 8 + i % 2);
      return;
    }
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const int n = i / 2 * 8 + i % 2;
      offsets[i] = n < left ? 0.0f : -kInfinity;
      if (n < left && problem.bias != nullptr) offsets[i] = load_constant(bias + n);
    }
  }

  // Begins with the group's own half, whose place is given back first.
  __device__ __forceinline__ void start_scores(int round) {
    const uint64_t rows = descriptor(memory.query, 16, kEightRows);
    hold(scores);
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      const int piece = (i + kGroup * kHalf) % kPieces;
      wait_barrier(shared_address(&memory.exchange->piece_loaded[kGroup][piece]), round);
      begin_products();
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        const uint32_t a = piece * kPieceBytes + step * 32;
        const uint32_t b = piece_offset(kGroup, piece) + step * 32;
        multiply_rows<kBFloat16>(scores, rows + a / 16, rows + b / 16, i + step > 0);
      }
    }
    commit_products();
  }

  __device__ __forceinline__ void finish_scores(int round) {
    wait_products();
    hold(scores);
    if (ends_in(round)) {
      // Rows beyond the bank are 0, but 0 times an infinite query is none.
      const int row = first_row(round);
#pragma unroll
      for (int i = 0; i < 32; ++i) {
        if (row + i / 4 * 8 + i % 2 >= problem.bank_rows) scores[i] = 0.0f;
      }
    }
  }

  // Scales scores; returns the reference that they ask for.
  __device__ __forceinline__ float2 scale_scores() {
    float most[2] = {-kInfinity, -kInfinity};
#pragma unroll
    for (int i = 0; i < 16; ++i) offsets[i] *= kLog2E;
#pragma unroll
    for (int i = 0; i < 32; ++i) {
      scores[i] = scores[i] * problem.scale_log2 + offsets[i / 4 * 2 + i % 2];
      most[i / 2 % 2] = fmaxf(most[i / 2 % 2], scores[i]);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      most[i] = fmaxf(most[i], shuffle_xor(most[i], 1));
      most[i] = fmaxf(most[i], shuffle_xor(most[i], 2));
    }
    return {raised(reference.x, most[0]), raised(reference.y, most[1])};
  }

  // Sums are brought along, those of products with the next rescale_sums().
  __device__ __forceinline__ void refer_to(float2 next) {
    // Never 0: an infinite sum stays one.
    factor.x = exp2_fast(fmaxf(reference.x - next.x, -126.0f));
    factor.y = exp2_fast(fmaxf(reference.y - next.y, -126.0f));
    weight_sum = {weight_sum.x * factor.x, weight_sum.y * factor.y};
    rounded_sum = {rounded_sum.x * factor.x, rounded_sum.y * factor.y};
    reference = next;
  }

  // None may be on their way.
  __device__ __forceinline__ void rescale_sums() {
    if (!any_of_warp(factor.x != 1.0f || factor.y != 1.0f)) return;
#pragma unroll
    for (int i = 0; i < 128; ++i) sums[i] *= i / 2 % 2 == 0 ? factor.x : factor.y;
  }

  __device__ __forceinline__ void weigh_scores() {
#pragma unroll
    for (int i = 0; i < 32; i += 4) {
      // Columns 0 to 7 of a step are registers x and y of its fragment, 8 to 15 are z and w.
      Fragment& fragment = weights[i / 8];
      uint32_t& upper = i % 8 == 0 ? fragment.x : fragment.z;
      uint32_t& lower = i % 8 == 0 ? fragment.y : fragment.w;
      upper = weigh_pair(scores[i], scores[i + 1], reference.x, weight_sum.x, rounded_sum.x);
      lower = weigh_pair(scores[i + 2], scores[i + 3], reference.y, weight_sum.y, rounded_sum.y);
    }
  }

  static __device__ __forceinline__ uint32_t weigh_pair(float first, float second, float by,
                                                        float& weight_sum, float& rounded_sum) {
    const float x = exp2_fast(first - by), y = exp2_fast(second - by);
    const uint32_t pair = rounded_pair<kBFloat16>(x, y);
    weight_sum += x + y;
    rounded_sum += first_of<kBFloat16>(pair) + second_of<kBFloat16>(pair);
    return pair;
  }

  // Hands this thread's weights and reference to its counterpart.
  __device__ __forceinline__ void hand_over() {
    Exchange& exchange = *memory.exchange;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      store_shared(&exchange.weights[kGroup][step][thread], weights[step]);
    }
    store_shared(&exchange.references[kGroup][thread], reference);
    announce();
  }

  __device__ __forceinline__ void announce() {
    sync_warp();
    if (lane == 0) arrive(shared_address(&memory.exchange->handed_over[kGroup][warp]));
  }

  __device__ __forceinline__ void await_other(int phase) {
    wait_barrier(shared_address(&memory.exchange->handed_over[1 - kGroup][warp]), phase);
  }

  // Waits for the counterpart's weights, and refers to what they do.
  __device__ __forceinline__ void take_over(int round) {
    const Exchange& exchange = *memory.exchange;
    await_other(round);
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      others[step] = load_shared(&exchange.weights[1 - kGroup][step][thread]);
    }
    refer_to(load_shared(&exchange.references[1 - kGroup][thread]));
  }

  // sums += weights [64, 64] x this group's half of a tile [64, 256].
  __device__ __forceinline__ void start_sums(Fragment (&by)[kSteps], int tile) {
    const uint64_t columns = descriptor(memory.query, kPieceBytes, kEightRows);
    hold(by);
    hold(sums);
    begin_products();
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const uint32_t b = piece_offset(tile, kGroup * kHalf) + step * 2 * kEightRows;
      multiply_columns<kBFloat16>(sums, by[step], columns + b / 16);
    }
    commit_products();
  }

  // Waits for the sums, and gives the half's place back.
  __device__ __forceinline__ void finish_sums(int tile) {
    wait_products();
    hold(sums);
    sync_warp();
    if (lane == 0) arrive(shared_address(&memory.exchange->half_used[tile][kGroup]));
  }

  // Weights are handed over before anything waits for the other group's: when those have come, the
  // other group has read the last ones and their place may be written to.
  __device__ __forceinline__ void run_round(int round) {
    load_offsets(round);
    start_scores(round);
    if (kGroup == 0) {
      finish_scores(round);
      refer_to(scale_scores());
      weigh_scores();
      hand_over();
      rescale_sums();
      start_sums(weights, 0);
      take_over(round);
      finish_sums(0);
      rescale_sums();
      start_sums(others, 1);
      finish_sums(1);
    } else {
      take_over(round);
      finish_scores(round);
      rescale_sums();
      start_sums(others, 0);
      refer_to(scale_scores());
      weigh_scores();
      hand_over();
      finish_sums(0);
      rescale_sums();
      start_sums(weights, 1);
      finish_sums(1);
    }
  }

  // Brings the sums of weights to those over both groups' rows of the bank.
  __device__ __forceinline__ void total_weights(int rounds) {
    float4 own{weight_sum.x, weight_sum.y, rounded_sum.x, rounded_sum.y};
#pragma unroll
    for (int mask = 1; mask < 4; mask *= 2) {
      own = {own.x + shuffle_xor(own.x, mask), own.y + shuffle_xor(own.y, mask),
             own.z + shuffle_xor(own.z, mask), own.w + shuffle_xor(own.w, mask)};
    }
    store_shared(&memory.exchange->weight_sums[kGroup][thread], own);
    announce();
    await_other(rounds);
    const float4 other = load_shared(&memory.exchange->weight_sums[1 - kGroup][thread]);
    weight_sum = {own.x + other.x, own.y + other.y};
    rounded_sum = {own.z + other.z, own.w + other.w};
  }

  __device__ __forceinline__ void write() const {
    const int first = block_x() * kQueries + warp * 16 + lane / 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first + half * 8;
      if (row >= problem.rows) continue;
      // A rounding that all weights share is none of their mean.
      const float inverse = 1.0f / (half == 0 ? rounded_sum.x : rounded_sum.y);
      const int64_t place = int64_t(block_y()) * problem.rows + row;
      float* mean = problem.mean + place * kWidth + kGroup * (kWidth / 2) + lane % 4 * 2;
#pragma unroll
      for (int i = 0; i < 32; ++i) {
        const float2 pair{sums[4 * i + 2 * half] * inverse, sums[4 * i + 2 * half + 1] * inverse};
        *reinterpret_cast<float2*>(mean + i * 8) = pair;
      }
      if (kGroup == 0 && lane % 4 == 0) {
        const float weight = half == 0 ? weight_sum.x : weight_sum.y;
        problem.lse[place] = ((half == 0 ? reference.x : reference.y) + log2f(weight)) * kLn2;
      }
    }
  }
};

template <bool kBFloat16, int kGroup>
__device__ __forceinline__ void compute(const Problem& problem, const Memory& memory, int begin,
                                        int rounds) {
  Thread<kBFloat16, kGroup> thread(problem, memory, begin);
  wait_barrier(shared_address(&memory.exchange->query_loaded), 0);
  for (int round = 0; round < rounds; ++round) thread.run_round(round);
  thread.total_weights(rounds);
  thread.write();
}

// One thread of each of the four copying warps, for one half of one tile.
__device__ __forceinline__ void copy(const TensorMap* query, const TensorMap* bank,
                                     const Memory& memory, int begin, int rounds,
                                     int number) {
  Exchange& exchange = *memory.exchange;
  const int tile = number / 2, half = number % 2;
  const uint32_t used = shared_address(&exchange.half_used[tile][half]);
  if (number == 0) {
    const uint32_t loaded = shared_address(&exchange.query_loaded);
    arrive_expecting(loaded, kPieces * kPieceBytes);
    for (int piece = 0; piece < kPieces; ++piece) {
      load_box(query, memory.query + piece * kPieceBytes, loaded, piece * kPiece,
               block_x() * kQueries);
    }
  }
  for (int round = 0; round < rounds; ++round) {
    if (round > 0) wait_barrier_or_trap(used, round - 1);
    for (int piece = half * kHalf; piece < (half + 1) * kHalf; ++piece) {
      const uint32_t loaded = shared_address(&exchange.piece_loaded[tile][piece]);
      arrive_expecting(loaded, kPieceBytes);
      load_box(bank, memory.query + piece_offset(tile, piece), loaded, piece * kPiece,
               begin + round * kRound + tile * kTile);
    }
  }
  wait_barrier_or_trap(used, rounds - 1);  // so that a block that hangs ends in an error
}

__device__ __forceinline__ void make_barriers(Exchange& exchange) {
  init_barrier(shared_address(&exchange.query_loaded), 1);
  for (int i = 0; i < 2; ++i) {
    for (auto& barrier : exchange.piece_loaded[i]) init_barrier(shared_address(&barrier), 1);
    for (auto& barrier : exchange.half_used[i]) init_barrier(shared_address(&barrier), kHalf);
    for (auto& barrier : exchange.handed_over[i]) init_barrier(shared_address(&barrier), 1);
  }
  fence_barrier_init();
}

// A block: queries block_x, part block_y of the bank. `shared`: kSharedBytes, aligned to 1,024.
template <bool kBFloat16>
__device__ __forceinline__ void run_block(const Problem& problem, const TensorMap* query,
                                          const TensorMap* bank, unsigned char* shared) {
  const Memory memory{shared_address(shared), reinterpret_cast<Exchange*>(shared + kExchangeAt)};
  const int begin = block_y() * problem.part;
  const int left = problem.bank_rows - begin;
  const int rounds = ((left < problem.part ? left : problem.part) + kRound - 1) / kRound;
  if (thread_index() == 0) make_barriers(*memory.exchange);
  sync_block();
  // 65,536 registers: 168 a thread at the launch, 2 x 128 x 240 + 128 x 24 from here on.
  const int group = thread_index() / kGroupThreads;
  if (group == 2) {
    give_registers<24>();
    if (thread_index() % 32 == 0) {
      copy(query, bank, memory, begin, rounds, thread_index() % kGroupThreads / 32);
    }
  } else {
    take_registers<240>();
    if (group == 0) {
      compute<kBFloat16, 0>(problem, memory, begin, rounds);
    } else {
      compute<kBFloat16, 1>(problem, memory, begin, rounds);
    }
  }
}

// lse and mean over all parts of the bank from those over each; a thread for 4 columns.
__device__ __forceinline__ void merge_parts(const float* part_lse,   // [parts, M]
                                            const float* part_mean,  // [parts, M, 512]
                                            int64_t rows, int parts,
                                            float* lse,     // [M]
                                            float* mean) {  // [M, 512]
  const int64_t row = block_x();
  const int column = thread_index() * 4;
  float most = -kInfinity;
  for (int part = 0; part < parts; ++part) most = fmaxf(most, part_lse[part * rows + row]);
  const float reference = fabsf(most) == kInfinity ? 0.0f : most;
  float total = 0.0f, sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  for (int part = 0; part < parts; ++part) {
    const int64_t place = part * rows + row;
    const float weight = exp2f((part_lse[place] - reference) * kLog2E);
    total += weight;
    if (weight == 0.0f) continue;  // a part of scores of -inf has no mean
    const float4 x = *reinterpret_cast<const float4*>(part_mean + place * kWidth + column);
    sums[0] += weight * x.x;
    sums[1] += weight * x.y;
    sums[2] += weight * x.z;
    sums[3] += weight * x.w;
  }
  const float inverse = 1.0f / total;
  float4* to = reinterpret_cast<float4*>(mean + row * kWidth + column);
  *to = {sums[0] * inverse, sums[1] * inverse, sums[2] * inverse, sums[3] * inverse};
  if (column == 0) lse[row] = reference + log2f(total) * kLn2;
}

}  // namespace bank_lse_sm90
}  // namespace latentpath
