#include "cpu/dispatch.h"

#if defined(LATENTPATH_X86)
#include <cpuid.h>
#endif

namespace latentpath {

#define LATENTPATH_DECLARE(isa) \
  namespace isa {               \
  extern const Kernels kTable;  \
  }

LATENTPATH_DECLARE(baseline)
#if defined(LATENTPATH_X86)
LATENTPATH_DECLARE(avx2)
LATENTPATH_DECLARE(avx512)
LATENTPATH_DECLARE(avx512_bf16)
#endif

namespace {

#if defined(LATENTPATH_X86)
// Clang before 15 knows no names of these two for __builtin_cpu_supports. Whether the operating
// system keeps the registers is asked with avx2 and avx512f.
bool has_f16c() {
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C) != 0;
}

bool has_avx512_bf16() {
  constexpr unsigned kBit = 1u << 5;
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & kBit) != 0;
}
#endif

std::vector<const Kernels*> available_tables() {
  std::vector<const Kernels*> tables;
#if defined(LATENTPATH_X86)
  __builtin_cpu_init();
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  const bool has_avx512 =
      has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (has_avx512 && has_avx512_bf16()) tables.push_back(&avx512_bf16::kTable);
  if (has_avx512) tables.push_back(&avx512::kTable);
  if (has_avx2) tables.push_back(&avx2::kTable);
#endif
  tables.push_back(&baseline::kTable);
  return tables;
}

const std::vector<const Kernels*>& tables() {
  static const std::vector<const Kernels*> all = available_tables();
  return all;
}

const Kernels*& current() {
  static const Kernels* chosen = tables().front();
  return chosen;
}

}  // namespace

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Kernels* table : tables()) names.emplace_back(table->isa);
  return names;
}

const Kernels& kernels() { return *current(); }

bool choose_isa(const std::string& isa) {
  for (const Kernels* table : tables()) {
    if (isa == table->isa) {
      current() = table;
      return true;
    }
  }
  return false;
}

}  // namespace latentpath
