// bank_lse on Hopper: launches of what bank_lse_sm90.h says, for sm_90a alone.

#include "cuda/hopper.h"

#include "cuda/bank_lse_sm90.h"
#include "cuda/check.h"
#include "cuda/launch.h"

namespace latentpath {
namespace cuda {
namespace {

using namespace bank_lse_sm90;

constexpr int kMergeThreads = kWidth / 4;
constexpr int kAlignment = 1024;  // that of the swizzle's pattern, eight rows

template <bool kBFloat16>
__global__ void __launch_bounds__(kThreads, 1)
    bank_lse_parts(const __grid_constant__ TensorMap query, const __grid_constant__ TensorMap bank,
                   const __grid_constant__ Problem problem) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)  // compiled for sm_90a
  extern __shared__ __align__(kAlignment) unsigned char shared[];
  if (shared_address(shared) % kAlignment != 0) __trap();  // or the swizzle would be another one
  run_block<kBFloat16>(problem, &query, &bank, shared);
#endif
}

__global__ void __launch_bounds__(kMergeThreads)
    bank_lse_merge(const float* part_lse, const float* part_mean, int64_t rows, int parts,
                   float* lse, float* mean) {
  merge_parts(part_lse, part_mean, rows, parts, lse, mean);
}

using Encode = decltype(&cuTensorMapEncodeTiled);

// The driver's function, which PyTorch has loaded; linking to it would need a driver to import us.
Encode driver_encode() {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result;
#if CUDART_VERSION >= 12050
  const cudaError_t error = cudaGetDriverEntryPointByVersion(
      "cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &result);
#else
  const cudaError_t error =
      cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &found, cudaEnableDefault, &result);
#endif
  if (error != cudaSuccess || found == nullptr || result != cudaDriverEntryPointSuccess) {
    throw std::runtime_error("latentpath: the CUDA driver has no cuTensorMapEncodeTiled");
  }
  return reinterpret_cast<Encode>(found);
}

// Pieces of [rows, 512] in order, aligned to 16 bytes.
TensorMap pieces_of(const void* matrix, int64_t rows, DType dtype) {
  static const Encode encode = driver_encode();
  const cuuint64_t sizes[2] = {kWidth, static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[1] = {kWidth * 2};  // bytes, of the second axis
  const cuuint32_t box[2] = {kPiece, kTile}, steps[2] = {1, 1};
  const auto type = dtype == DType::kBFloat16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                              : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
  TensorMap map;
  const CUresult error = encode(&map, type, 2, const_cast<void*>(matrix), sizes, strides, box,
                                steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (error != CUDA_SUCCESS) {
    throw std::runtime_error("latentpath: cuTensorMapEncodeTiled: error " + std::to_string(error));
  }
  return map;
}

template <bool kBFloat16>
void launch_parts(const TensorMap& query, const TensorMap& bank, const Problem& problem, dim3 grid,
                  cudaStream_t stream) {
  cudaFuncSetAttribute(bank_lse_parts<kBFloat16>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                       kSharedBytes);
  bank_lse_parts<kBFloat16><<<grid, kThreads, kSharedBytes, stream>>>(query, bank, problem);
  check_launch("bank_lse_parts");
}

}  // namespace

void bank_lse_sm90(const BankLseSm90Args& args, void* handle) {
  if (args.rows == 0) return;
  const auto stream = static_cast<cudaStream_t>(handle);
  const int64_t parts = (args.bank_rows + args.part - 1) / args.part;
  const Problem problem{args.bias,
                        static_cast<int>(args.rows),
                        static_cast<int>(args.bank_rows),
                        static_cast<int>(args.part),
                        args.scale * kLog2E,
                        parts == 1 ? args.lse : args.part_lse,
                        parts == 1 ? args.mean : args.part_mean};
  const TensorMap query = pieces_of(args.query, args.rows, args.dtype);
  const TensorMap bank = pieces_of(args.bank, args.bank_rows, args.dtype);
  const dim3 grid(static_cast<unsigned>((args.rows + kQueries - 1) / kQueries),
                  static_cast<unsigned>(parts));
  if (args.dtype == DType::kBFloat16) {
    launch_parts<true>(query, bank, problem, grid, stream);
  } else {
    launch_parts<false>(query, bank, problem, grid, stream);
  }
  if (parts == 1) return;
  bank_lse_merge<<<static_cast<unsigned>(args.rows), kMergeThreads, 0, stream>>>(
      args.part_lse, args.part_mean, args.rows, static_cast<int>(parts), args.lse, args.mean);
  check_launch("bank_lse_merge");
}

}  // namespace cuda
}  // namespace latentpath
