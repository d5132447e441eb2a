// Decoding, launch 4 of 5 of a layer without a gate (GPT-NeoX), and the logits.
//
//     n = normalize(residual);  output[r] = f(weight[r] . n + bias[r])
//
// residual, norm_weight, norm_bias (or null): [hidden] f32; weight: [rows, hidden]; bias: [rows] f32, or null; output:
// [rows] f32; f: a nonlinearity, or nothing where its number is below 0. A warp sums two neighboring rows at a time.
#include "common.cuh"
#include "weights.cuh"
#include "rows.cuh"

template <class F>
__device__ void decode_up(
    float* output, const float* residual, const float* norm_weight, const float* norm_bias, const Weight& weight,
    const float* bias, int hidden, int rows, int nonlinearity, float epsilon) {
    extern __shared__ __align__(16) float normed[];
    __shared__ float room[WARP];
    int warps = gridDim.x * blockDim.x / WARP;
    int warp = (blockIdx.x * blockDim.x + threadIdx.x) / WARP;
    if (2 * warp < rows) prefetch_rows<F>(weight, 2 * warp, weight, min(2 * warp + 1, rows - 1), hidden);
    wait_for_others();
    normalize_row(residual, norm_weight, norm_bias, hidden, epsilon, normed, room);
    for (int row = 2 * warp; row < rows; row += 2 * warps) {
        int next = min(row + 1, rows - 1);
        float2 sums = two_rows<F>(weight, row, weight, next, hidden, normed);
        if (threadIdx.x % WARP == 0) {
            if (bias) sums = make_float2(sums.x + bias[row], sums.y + bias[next]);
            bool is_linear = nonlinearity < 0;
            output[row] = is_linear ? sums.x : activate_one(sums.x, nonlinearity);
            if (next > row) output[next] = is_linear ? sums.y : activate_one(sums.y, nonlinearity);
        }
    }
}

#define DEFINE(name, Format)                                                                                       \
    extern "C" __global__ void __launch_bounds__(256) decode_up_##name(                                           \
        float* output, const float* residual, const float* norm_weight, const float* norm_bias, Weight weight,    \
        const float* bias, int hidden, int rows, int nonlinearity, float epsilon) {                               \
        decode_up<Format>(                                                                                        \
            output, residual, norm_weight, norm_bias, weight, bias, hidden, rows, nonlinearity, epsilon);         \
    }
FOR_EVERY_FORMAT(DEFINE)
