// Fresh memory in large pages.
//
// PyTorch returns large blocks to the system and gets them back as untouched pages; taking them
// 4 KB at a time costs several times the copy itself. As NumPy does, ask for 2 MB pages where a
// kernel is about to fill a large block.
#pragma once

#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace latentpath {

static inline void prefer_large_pages(void* block, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t kPage = 4096;
  if (bytes < int64_t(4) << 20) return;
  const uintptr_t begin = (uintptr_t(block) + kPage - 1) & ~(kPage - 1);
  const uintptr_t end = (uintptr_t(block) + uintptr_t(bytes)) & ~(kPage - 1);
  // Advice only: where the system has no such pages the call fails and nothing is lost.
  (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)block;
  (void)bytes;
#endif
}

}  // namespace latentpath
