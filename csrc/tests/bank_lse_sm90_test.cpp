// Runs the body of bank_lse's kernel for Hopper on the processor, thread by thread, with the
// emulated instructions of hopper_emulation.h, and compares it with loops in double.
//
// `bank_lse_sm90_test [seeds]`: every case in so many orders of events, 3 if not given. Prints what
// it ran; exits with 1 where a result is off or a rule of the instructions was broken.

#include "tests/hopper_emulation.h"

#include <memory>

#include "cuda/bank_lse_sm90.h"

namespace {

using namespace latentpath;
using namespace bank_lse_sm90;

constexpr float kNan = __builtin_nanf("");

struct Case {
  const char* name;
  int rows, bank_rows, part;
  bool is_bfloat16 = true;
};

struct Data {
  std::vector<uint16_t> query, bank;
  std::vector<float> bias;  // may be empty
  float scale = 0.15f;
};

struct Results {
  std::vector<float> lse, mean;
};

std::vector<uint16_t> normal(std::mt19937& random, int count, bool is_bfloat16) {
  std::normal_distribution<float> distribution;
  std::vector<uint16_t> numbers(static_cast<size_t>(count));
  for (auto& x : numbers) x = half_from_float(distribution(random), is_bfloat16);
  return numbers;
}

Data data_of(const Case& c) {
  std::mt19937 random(7);
  Data data{normal(random, c.rows * kWidth, c.is_bfloat16),
            normal(random, c.bank_rows * kWidth, c.is_bfloat16),
            {}};
  const std::string name = c.name;
  if (name == "no bias") return data;
  std::normal_distribution<float> distribution;
  for (int n = 0; n < c.bank_rows; ++n) {
    float bias = distribution(random);
    if (name == "rising") bias += float(n / 64) * 20.0f;  // every tile raises the reference
    if (name == "rising slowly") bias += float(n / 64) * 3.0f;  // some do
    if (name == "falling") bias -= float(n) * 0.5f;
    if (name == "left out" && (n < 200 || n % 7 == 0)) bias = -kInfinity;
    if (name == "all left out") bias = -kInfinity;
    if (name == "infinite" && n == 130) bias = kInfinity;
    if (name == "huge") bias *= 1e4f;
    data.bias.push_back(bias);
  }
  if (name == "not a number") data.query[3 * kWidth + 5] = 0x7fff;
  if (name == "infinite query") data.query[3 * kWidth + 5] = half_from_float(kInfinity, true);
  return data;
}

// Every block after the other, as cuda/bank_lse_sm90.cu launches them.
void run_blocks(const TensorMap& query, const TensorMap& bank, const Problem& problem,
                bool is_bfloat16, unsigned seed) {
  const int parts = (problem.bank_rows + problem.part - 1) / problem.part;
  for (int y = 0; y < parts; ++y) {
    for (int x = 0; x < (problem.rows + kQueries - 1) / kQueries; ++x) {
      const auto machine = std::make_unique<Machine>(kSharedBytes, x, y, seed + unsigned(x + y));
      machine->run([&] {
        if (is_bfloat16) {
          run_block<true>(problem, &query, &bank, machine->base);
        } else {
          run_block<false>(problem, &query, &bank, machine->base);
        }
      });
    }
  }
}

void run_merge(const float* part_lse, const float* part_mean, int rows, int parts, float* lse,
               float* mean) {
  const auto machine = std::make_unique<Machine>(1024, 0, 0, 0);
  Machine::current_machine() = machine.get();
  for (machine->x = 0; machine->x < rows; ++machine->x) {
    for (machine->thread = 0; machine->thread < kWidth / 4; ++machine->thread) {
      merge_parts(part_lse, part_mean, rows, parts, lse, mean);
    }
  }
  Machine::current_machine() = nullptr;
}

Results run(const Case& c, const Data& data, unsigned seed) {
  const int parts = (c.bank_rows + c.part - 1) / c.part;
  Results part{std::vector<float>(size_t(parts * c.rows), kNan),
               std::vector<float>(size_t(parts * c.rows * kWidth), kNan)};
  const TensorMap query{data.query.data(), c.rows, kWidth};
  const TensorMap bank{data.bank.data(), c.bank_rows, kWidth};
  const Problem problem{data.bias.empty() ? nullptr : data.bias.data(),
                        c.rows,
                        c.bank_rows,
                        c.part,
                        data.scale * kLog2E,
                        part.lse.data(),
                        part.mean.data()};
  run_blocks(query, bank, problem, c.is_bfloat16, seed);
  if (parts == 1) return part;
  Results merged{std::vector<float>(size_t(c.rows), kNan),
                 std::vector<float>(size_t(c.rows * kWidth), kNan)};
  run_merge(part.lse.data(), part.mean.data(), c.rows, parts, merged.lse.data(),
            merged.mean.data());
  return merged;
}

void expect(const Case& c, const char* what, int row, double got, double want, double tolerance) {
  if (std::isnan(want) ? std::isnan(got) : got == want) return;
  if (std::fabs(got - want) <= tolerance) return;
  std::printf("%s: %s of query %d: got %.9g, expected %.9g within %.3g\n", c.name, what, row, got,
              want, tolerance);
  std::exit(1);
}

// Weights are rounded to 16 bits; their relative errors are at most those of that and of scores.
void compare(const Case& c, const Data& data, const Results& results) {
  const double rounding = c.is_bfloat16 ? 1.0 / 256 : 1.0 / 2048;
  std::vector<double> query(data.query.size()), bank(data.bank.size());
  for (size_t i = 0; i < query.size(); ++i) query[i] = half_to_float(data.query[i], c.is_bfloat16);
  for (size_t i = 0; i < bank.size(); ++i) bank[i] = half_to_float(data.bank[i], c.is_bfloat16);
  for (int m = 0; m < c.rows; ++m) {
    std::vector<double> scores(size_t(c.bank_rows), 0.0);
    double most = -HUGE_VAL, total = 0.0, largest = 0.0;
    for (int n = 0; n < c.bank_rows; ++n) {
      double& score = scores[size_t(n)];
      for (int d = 0; d < kWidth; ++d) {
        score += query[size_t(m * kWidth + d)] * bank[size_t(n * kWidth + d)];
      }
      score = score * double(data.scale) + (data.bias.empty() ? 0.0 : double(data.bias[size_t(n)]));
      most = std::isnan(score) || std::isnan(most) ? NAN : std::max(most, score);
      if (std::isfinite(score)) largest = std::max(largest, std::fabs(score));
    }
    const double reference = std::isinf(most) ? 0.0 : most;
    for (const double score : scores) total += std::exp(score - reference);
    const double score_error = 4e-6 + 3e-7 * largest;
    const double lse = reference + std::log(total);
    expect(c, "lse", m, double(results.lse[size_t(m)]), lse, 2 * score_error);
    for (int d = 0; d < kWidth; ++d) {
      double mean = 0.0, size = 0.0;
      for (int n = 0; n < c.bank_rows; ++n) {
        const double weight = std::exp(scores[size_t(n)] - reference) / total;
        mean += weight * bank[size_t(n * kWidth + d)];
        size += weight * std::fabs(bank[size_t(n * kWidth + d)]);
      }
      if (std::isinf(most)) mean = NAN;
      expect(c, "mean", m, double(results.mean[size_t(m * kWidth + d)]), mean,
             (rounding + 4 * score_error) * size + 1e-7);
    }
  }
}

const Case kCases[] = {
    {"no bias", 1, 1, 128},
    {"no bias", 3, 64, 128},
    {"bias", 70, 129, 256},
    {"bias", 64, 500, 512, false},
    {"bias", 5, 700, 256},
    {"no bias", 9, 385, 128, false},
    {"rising", 2, 600, 640},
    {"rising slowly", 2, 600, 640},
    {"rising", 2, 600, 640, false},
    {"falling", 2, 300, 384},
    {"left out", 3, 500, 512},
    {"left out", 3, 500, 128},
    {"all left out", 2, 300, 128},
    {"all left out", 2, 300, 384},
    {"infinite", 2, 500, 512},
    {"infinite", 2, 500, 128},
    {"huge", 2, 300, 384},
    {"not a number", 5, 200, 256},
    {"infinite query", 5, 200, 256},
};

}  // namespace

// What cuda::bank_lse_sm90 does, for Python's tests of the op; addresses as in bindings.cpp.
extern "C" void bank_lse_sm90(const uint64_t* addresses, int dtype, int64_t rows, int64_t bank_rows,
                              int64_t part, double scale) {
  const auto at = [&](int i) { return reinterpret_cast<float*>(addresses[i]); };
  const TensorMap query{reinterpret_cast<const uint16_t*>(addresses[0]), int(rows), kWidth};
  const TensorMap bank{reinterpret_cast<const uint16_t*>(addresses[1]), int(bank_rows), kWidth};
  const Problem problem{at(2),       int(rows), int(bank_rows), int(part), float(scale) * kLog2E,
                        at(5),       at(6)};
  run_blocks(query, bank, problem, dtype == 1, 0);
  const int parts = int((bank_rows + part - 1) / part);
  if (parts > 1) run_merge(at(5), at(6), int(rows), parts, at(3), at(4));
}

extern "C" uint64_t described_sums() { return descriptor(0, kPieceBytes, kEightRows); }

int main(int count, char** arguments) {
  const unsigned seeds = count > 1 ? unsigned(std::atoi(arguments[1])) : 3;
  for (const Case& c : kCases) {
    const Data data = data_of(c);
    Results first;
    for (unsigned seed = 0; seed < seeds; ++seed) {
      const Results results = run(c, data, 1000 * seed);
      if (seed == 0) {
        compare(c, data, results);
        first = results;
      } else if (memcmp(first.lse.data(), results.lse.data(), 4 * first.lse.size()) != 0 ||
                 memcmp(first.mean.data(), results.mean.data(), 4 * first.mean.size()) != 0) {
        std::printf("%s: another result in another order of events\n", c.name);
        return 1;
      }
    }
    std::printf("%s: %d queries, %d rows, parts of %d, %s: %u orders\n", c.name, c.rows,
                c.bank_rows, c.part, c.is_bfloat16 ? "bfloat16" : "float16", seeds);
  }
  std::printf("done\n");
}
