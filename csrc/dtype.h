// The element types that kernels read, by the number Python passes (ops/dispatch.py).
#pragma once

namespace latentpath {

enum class DType : int { kFloat32 = 0, kBFloat16 = 1, kFloat16 = 2 };

}  // namespace latentpath
