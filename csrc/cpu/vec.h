// Vectors of float as wide as the instruction set has them, and exp on them.
//
// Built on the vector extensions of GCC and Clang, so one source serves SSE2, AVX2, AVX-512 and
// NEON; intrinsics appear only where the generic form compiles badly. Everything is static and
// inlined: see LATENTPATH_INLINE in path_math.h for why.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "path_math.h"

namespace latentpath {
namespace LATENTPATH_ISA {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float vfloat __attribute__((vector_size(kLanes * 4)));
typedef int32_t vint __attribute__((vector_size(kLanes * 4)));
typedef uint32_t vuint __attribute__((vector_size(kLanes * 4)));
typedef uint16_t vhalf __attribute__((vector_size(kLanes * 2)));

template <class To, class From>
LATENTPATH_INLINE To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From), "bit_cast keeps the size");
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}

template <class Vector = vfloat>
LATENTPATH_INLINE Vector load(const void* from) {
  Vector v;
  memcpy(&v, from, sizeof(v));
  return v;
}

template <class Vector>
LATENTPATH_INLINE void store(void* to, Vector v) {
  memcpy(to, &v, sizeof(v));
}

LATENTPATH_INLINE vfloat splat(float x) { return x - vfloat{}; }

// A store that goes past the caches, for results too large to stay there. `to` is aligned.
LATENTPATH_INLINE void store_past_caches(float* to, vfloat v) {
#if defined(__AVX512F__)
  _mm512_stream_ps(to, v);
#elif defined(__AVX2__)
  _mm256_stream_ps(to, v);
#elif defined(__SSE2__)
  _mm_stream_ps(to, v);
#else
  store(to, v);
#endif
}

LATENTPATH_INLINE void finish_stores_past_caches() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// The larger of each pair; where a is NaN, b, and where b is NaN, b.
LATENTPATH_INLINE vfloat larger(vfloat a, vfloat b) {
#if defined(__AVX512F__)
  return _mm512_max_ps(a, b);
#elif defined(__AVX2__)
  return _mm256_max_ps(a, b);
#elif defined(__SSE2__)
  return _mm_max_ps(a, b);
#else
  return a > b ? a : b;
#endif
}

LATENTPATH_INLINE float largest(vfloat v) {
  float most = v[0];
  for (int i = 1; i < kLanes; ++i) most = v[i] > most ? v[i] : most;
  return most;
}

LATENTPATH_INLINE float sum(vfloat v) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps(v);
#else
  float total = 0.0f;
  for (int i = 0; i < kLanes; ++i) total += v[i];
  return total;
#endif
}

// e^x, for x up to 88; 0 below -87.33 (denormal results are flushed), NaN for NaN.
//
// x = n ln2 + r with |r| <= ln2 / 2, e^x = 2^n p(r). n ln2 is subtracted in two parts, of which
// the first has so few bits that n times it is exact; so r is exact to 2^-24 |r| + 1e-10. p is the
// minimax polynomial of degree 6 for relative error on that interval (Remez; 1.9e-9, far below
// half an ulp, 6e-8), so the error is rounding in Horner's scheme: at most 1.05 ulp with FMA and
// 1.3 without, as tests/ops measures over the whole range.
LATENTPATH_INLINE vfloat exponential(vfloat x) {
  const vfloat lowest = splat(-87.33f);
  const vfloat clamped = larger(lowest, x);  // this order lets a NaN in x through
  const float round = 12582912.0f;           // 1.5 * 2^23: adding it rounds to an integer
  const vfloat shifted = clamped * 1.44269504f + round;
  const vfloat n = shifted - round;
  vfloat r = clamped - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  vfloat p = splat(0x1.6ab928p-10f);
  p = p * r + 0x1.126d64p-7f;
  p = p * r + 0x1.55589cp-5f;
  p = p * r + 0x1.55540ap-3f;
  p = p * r + 0x1.fffffap-2f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  // shifted's low bits are n: moving them into the exponent multiplies by 2^n.
  const vfloat scaled = bit_cast<vfloat>(bit_cast<vuint>(p) + (bit_cast<vuint>(shifted) << 23));
#if defined(__AVX512F__)
  return _mm512_mask_mov_ps(scaled, _mm512_cmp_ps_mask(x, lowest, _CMP_LT_OQ), _mm512_setzero_ps());
#else
  return bit_cast<vfloat>(bit_cast<vint>(scaled) & ~bit_cast<vint>(x < lowest));
#endif
}

// ---- element types -----------------------------------------------------------------------------

struct BFloat16 {
  uint16_t bits;
};

struct Float16 {
  uint16_t bits;
};

LATENTPATH_INLINE vuint widen(vhalf h) {
#if defined(__AVX512F__)
  return bit_cast<vuint>(_mm512_cvtepu16_epi32(bit_cast<__m256i>(h)));
#elif defined(__AVX2__)
  return bit_cast<vuint>(_mm256_cvtepu16_epi32(bit_cast<__m128i>(h)));
#else
  return __builtin_convertvector(h, vuint);
#endif
}

LATENTPATH_INLINE vhalf narrow(vuint u) {
#if defined(__AVX512F__)
  return bit_cast<vhalf>(_mm512_cvtepi32_epi16(bit_cast<__m512i>(u)));
#else
  return __builtin_convertvector(u, vhalf);
#endif
}

LATENTPATH_INLINE vfloat load_as_float(const float* from) { return load(from); }

LATENTPATH_INLINE vfloat load_as_float(const BFloat16* from) {
  return bit_cast<vfloat>(widen(load<vhalf>(from)) << 16);
}

// Half precision by integer operations: the exponent is shifted into place and re-biased by a
// multiplication, which normalises denormals on the way; infinities and NaNs get theirs back.
LATENTPATH_INLINE vfloat load_as_float(const Float16* from) {
#if defined(__AVX512F__)
  return _mm512_cvtph_ps(load<__m256i>(from));
#elif defined(__AVX2__) && defined(__F16C__)
  return _mm256_cvtph_ps(load<__m128i>(from));
#else
  const vuint h = widen(load<vhalf>(from));
  const vuint magnitude = h & 0x7fffu;
  const vfloat finite = bit_cast<vfloat>(magnitude << 13) * 0x1p112f;
  const vuint special = bit_cast<vuint>(magnitude > 0x7bffu) & 0x7f800000u;
  return bit_cast<vfloat>(bit_cast<vuint>(finite) | special | ((h & 0x8000u) << 16));
#endif
}

LATENTPATH_INLINE void store_from_float(float* to, vfloat v) { store(to, v); }

// Round to nearest, ties to even; NaNs stay NaNs (made quiet).
LATENTPATH_INLINE void store_from_float(BFloat16* to, vfloat v) {
  const vuint u = bit_cast<vuint>(v);
  const vuint rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const vuint is_nan = bit_cast<vuint>(v != v);
  store(to, narrow((rounded & ~is_nan) | (((u >> 16) | 0x40u) & is_nan)));
}

// Values that are too small for a normal half get their rounding from an addition that puts the
// half's last bit into the float's last bit.
LATENTPATH_INLINE void store_from_float(Float16* to, vfloat v) {
#if defined(__AVX512F__)
  store(to, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__AVX2__) && defined(__F16C__)
  store(to, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
#else
  const vuint u = bit_cast<vuint>(v);
  const vuint sign = (u >> 16) & 0x8000u;
  const vuint magnitude = u & 0x7fffffffu;
  const vuint normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  const vuint tiny = bit_cast<vuint>(bit_cast<vfloat>(magnitude) + 0.5f) - 0x3f000000u;
  const vuint is_tiny = bit_cast<vuint>(magnitude < 0x38800000u);
  const vuint is_huge = bit_cast<vuint>(magnitude >= 0x477ff000u);
  const vuint is_nan = bit_cast<vuint>(magnitude > 0x7f800000u);
  vuint half = (tiny & is_tiny) | (normal & ~is_tiny);
  half = (half & ~is_huge) | (0x7c00u & is_huge) | (0x0200u & is_nan);
  store(to, narrow(half | sign));
#endif
}

// The first `count` elements (fewer than a vector), the other lanes `rest`.
template <class Element>
LATENTPATH_INLINE vfloat load_some(const Element* from, int64_t count, Element rest) {
  Element buffer[kLanes];
  for (int i = 0; i < kLanes; ++i) buffer[i] = i < count ? from[i] : rest;
  return load_as_float(buffer);
}

template <class Element>
LATENTPATH_INLINE void store_some(Element* to, vfloat v, int64_t count) {
  Element buffer[kLanes];
  store_from_float(buffer, v);
  for (int64_t i = 0; i < count; ++i) to[i] = buffer[i];
}

// A whole vector, or the first `left` elements where that is fewer; the other lanes are zero.
template <class Element>
LATENTPATH_INLINE vfloat load_up_to(const Element* from, int64_t left) {
  return left >= kLanes ? load_as_float(from) : load_some(from, left, Element{});
}

template <class Element>
LATENTPATH_INLINE void store_up_to(Element* to, vfloat v, int64_t left) {
  if (left >= kLanes) {
    store_from_float(to, v);
  } else {
    store_some(to, v, left);
  }
}

}  // namespace LATENTPATH_ISA
}  // namespace latentpath
