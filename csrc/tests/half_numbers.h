// bfloat16 and float16 as the numbers that they are, for tests; rounded to nearest, ties to even.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace latentpath {

inline float half_to_float(uint16_t h, bool is_bfloat16) {
  if (is_bfloat16) {
    const uint32_t bits = uint32_t(h) << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
  }
  const int exponent = h >> 10 & 31, mantissa = h & 1023;
  double x = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  if (exponent == 31) x = mantissa == 0 ? HUGE_VAL : NAN;
  return static_cast<float>(h >> 15 ? -x : x);
}

inline uint16_t half_from_float(float x, bool is_bfloat16) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  if (is_bfloat16) {
    if (x != x) return 0x7fff;
    return uint16_t((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
  }
  const uint16_t sign = bits >> 16 & 0x8000;
  if (x != x) return sign | 0x7fff;
  const double size = std::fabs(double(x));
  if (size >= 65520.0) return sign | 0x7c00;
  if (size < std::ldexp(1.0, -14)) return sign | uint16_t(std::nearbyint(std::ldexp(size, 24)));
  int exponent;
  const double mantissa = std::frexp(size, &exponent);  // in [0.5, 1)
  const int rounded = int(std::nearbyint(std::ldexp(mantissa, 11)));  // 1024 to 2048
  return sign | uint16_t((exponent + 13) * 1024 + rounded);
}

}  // namespace latentpath
