// Products of a warp group, emulated: matrices are found and multiplied as NVIDIA's manual "Parallel
// Thread Execution ISA" says (asynchronous warpgroup level matrix instructions). Part of
// hopper_emulation.h.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "tests/half_numbers.h"
#include "tests/hopper_machine.h"

namespace latentpath {
namespace hopper {

struct Descriptor {
  uint32_t start, leading, stride;
};

inline Descriptor decode(uint64_t descriptor) {
  if (descriptor >> 62 != 1) fail("a descriptor of another swizzle than 128 bytes");
  if (descriptor >> 49 & 7) fail("a descriptor with a base offset");
  const auto field = [&](int bit) { return uint32_t(descriptor >> bit & 0x3fff) << 4; };
  return {field(0), field(16), field(32)};
}

// Of element (mn, k), k running along the rows of 128 bytes.
inline uint32_t k_major(const Descriptor& d, int mn, int k) {
  const uint32_t at = d.start + uint32_t(mn / 8) * d.stride + uint32_t(mn % 8 * 128 + k * 2);
  return at ^ (at >> 7 & 7) << 4;
}
// Likewise, mn running along them, 64 to a row.
inline uint32_t mn_major(const Descriptor& d, int mn, int k) {
  const uint32_t at = d.start + uint32_t(mn / 64) * d.leading + uint32_t(mn % 64 * 2) +
                      uint32_t(k / 8) * d.stride + uint32_t(k % 8 * 128);
  return at ^ (at >> 7 & 7) << 4;
}

// What registers hold while a product is on its way to them: a NaN that no product makes.
inline uint32_t poison_bits() { return 0x7fa5dead; }
inline void poison(float* d, int size) {
  const uint32_t bits = poison_bits();
  for (int i = 0; i < size; ++i) memcpy(d + i, &bits, 4);
}
inline void check_poison(const float* d, int size) {
  for (int i = 0; i < size; ++i) {
    uint32_t bits;
    memcpy(&bits, d + i, 4);
    if (bits != poison_bits()) fail("registers of a product were written while it was running");
  }
}

inline float Machine::number_at(uint32_t address, bool is_bfloat16) {
  uint16_t value;
  memcpy(&value, base + offset_of(address, 2), 2);
  return half_to_float(value, is_bfloat16);
}

// Which rows a product reads.
inline void Machine::find_granules(Product& product) {
  std::vector<uint32_t> all;
  const auto add = [&](uint32_t at) { all.push_back(offset_of(at, 2) / kGranule); };
  const Descriptor b = decode(product.b);
  if (product.is_sum) {
    for (int k = 0; k < 16; ++k) {
      for (int n = 0; n < 256; n += 8) add(mn_major(b, n, k));
    }
  } else {
    const Descriptor a = decode(product.a);
    for (int k = 0; k < 16; k += 8) {
      for (int m = 0; m < 64; ++m) add(k_major(a, m, k)), add(k_major(b, m, k));
    }
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  product.granules = all;
}

// One thread's part of a product; `fragment` is its share of a matrix a in registers, if it is there.
inline void Machine::issue(float* d, int size, uint64_t a, const Fragment* fragment, uint64_t b,
                           bool adds, bool is_bfloat16) {
  step();
  Fiber& fiber = self();
  WarpGroup& group = groups[size_t(thread / 128)];
  const size_t member = size_t(thread % 128);
  if (!fiber.fenced) fail("a product without wgmma.fence after registers were touched");
  const bool is_new = fiber.issued == group.products.size();
  if (is_new) group.products.emplace_back();
  Product& product = group.products[fiber.issued++];
  if (is_new) {
    product.is_sum = fragment != nullptr;
    product.is_bfloat16 = is_bfloat16;
    product.adds = adds;
    product.a = a;
    product.b = b;
    find_granules(product);
  }
  if (product.is_sum != (fragment != nullptr) || product.a != a || product.b != b ||
      product.adds != adds) {
    fail("threads of a warp group start different products");
  }
  for (const uint32_t g : product.granules) {
    Granule& granule = granules[g];
    if (granule.on_its_way || !granule.written) fail("a product reads what is still copied");
    if (!seen(kEmulatedThreads + granule.barrier, granule.time)) {
      fail("a product reads what was copied without waiting for its barrier");
    }
    ++granule.reads_on_their_way;
  }
  product.d[member] = d;
  if (fragment != nullptr) {
    product.fragments[member] = fragment;
    product.values[member] = *fragment;
  }
  std::vector<float>& values = group.on_their_way[product.is_sum][member];
  if (values.empty()) {
    values.assign(d, d + size);
  } else {
    check_poison(d, size);
  }
  poison(d, size);
  ++product.issued;
}

// Multiplies, with what lies in shared memory now.
inline void Machine::execute(WarpGroup& group) {
  Product& product = group.products[group.done];
  const Descriptor b = decode(product.b);
  const int columns = product.is_sum ? 256 : 64;
  std::vector<float> left(64 * 16), right(size_t(columns) * 16);
  for (int k = 0; k < 16; ++k) {
    for (int n = 0; n < columns; ++n) {
      const uint32_t at = product.is_sum ? mn_major(b, n, k) : k_major(b, n, k);
      right[size_t(n * 16 + k)] = number_at(at, product.is_bfloat16);
    }
  }
  if (product.is_sum) {
    for (int t = 0; t < 128; ++t) {
      const Fragment& f = product.values[size_t(t)];
      const uint32_t registers[4] = {f.x, f.y, f.z, f.w};
      for (int i = 0; i < 8; ++i) {
        const int row = t / 32 * 16 + t % 32 / 4 + (i / 2 % 2) * 8;
        const int k = t % 4 * 2 + i % 2 + (i / 4) * 8;
        const auto half = uint16_t(registers[i / 2] >> (i % 2 * 16));
        left[size_t(row * 16 + k)] = half_to_float(half, product.is_bfloat16);
      }
    }
  } else {
    const Descriptor a = decode(product.a);
    for (int m = 0; m < 64; ++m) {
      for (int k = 0; k < 16; ++k) {
        left[size_t(m * 16 + k)] = number_at(k_major(a, m, k), product.is_bfloat16);
      }
    }
  }
  for (int t = 0; t < 128; ++t) {
    for (int i = 0; i < columns / 2; ++i) {
      const int row = t / 32 * 16 + t % 32 / 4 + (i / 2 % 2) * 8;
      const int column = i / 4 * 8 + t % 4 * 2 + i % 2;
      float& d = group.on_their_way[product.is_sum][size_t(t)][size_t(i)];
      float sum = product.adds ? d : 0.0f;
      const float* x = &left[size_t(row * 16)];
      const float* y = &right[size_t(column * 16)];
      for (int k = 0; k < 16; ++k) sum += x[k] * y[k];
      d = sum;
    }
  }
  product.done = true;
  ++group.done;
}

inline void Machine::commit() {
  step();
  Fiber& fiber = self();
  fiber.committed = fiber.issued;
}

inline void Machine::wait_for_products() {
  step();
  Fiber& fiber = self();
  WarpGroup& group = groups[size_t(thread / 128)];
  if (fiber.committed != fiber.issued) fail("a wait for products that were not committed");
  const size_t wanted = fiber.committed;
  if (group.done < wanted) block_until([&group, wanted] { return group.done >= wanted; });
  const size_t member = size_t(thread % 128);
  for (; fiber.waited < wanted; ++fiber.waited) {
    const Product& product = group.products[fiber.waited];
    for (const uint32_t g : product.granules) {
      --granules[g].reads_on_their_way;
      granules[g].reads[size_t(thread)] = now();
    }
    if (product.is_sum &&
        memcmp(product.fragments[member], &product.values[member], sizeof(Fragment)) != 0) {
      fail("weights in registers changed while a product was running");
    }
    auto& values = group.on_their_way[product.is_sum][member];
    if (values.empty()) continue;  // several products to the same registers
    check_poison(product.d[member], int(values.size()));
    std::copy(values.begin(), values.end(), product.d[member]);
    values.clear();
  }
  fiber.fenced = false;
}

}  // namespace hopper
}  // namespace latentpath
