// Decoding, launch 4 of 5 of a layer: normalization, and the inner half of a gated MLP.
//
//     n = normalize(residual);  inner[r] = f(gate[r] . n + gate_bias[r]) * (up[r] . n + up_bias[r])
//
// residual, norm_weight, norm_bias (or null): [hidden] f32; gate, up: [rows, hidden]; biases: [rows] f32, or null; inner:
// [rows] f32. A warp sums the same row of both matrices, so that the product needs no further step.
#include "common.cuh"
#include "weights.cuh"
#include "rows.cuh"

template <class F>
__device__ void decode_gate_up(
    float* inner, const float* residual, const float* norm_weight, const float* norm_bias, const Weight& gate,
    const Weight& up, const float* gate_bias, const float* up_bias, int hidden, int rows, int nonlinearity,
    float epsilon) {
    extern __shared__ __align__(16) float normed[];
    __shared__ float room[WARP];
    int warps = gridDim.x * blockDim.x / WARP;
    int warp = (blockIdx.x * blockDim.x + threadIdx.x) / WARP;
    if (warp < rows) prefetch_rows<F>(gate, warp, up, warp, hidden);
    wait_for_others();
    normalize_row(residual, norm_weight, norm_bias, hidden, epsilon, normed, room);
    for (int row = warp; row < rows; row += warps) {
        float2 sums = two_rows<F>(gate, row, up, row, hidden, normed);
        if (threadIdx.x % WARP == 0) {
            if (gate_bias) sums.x += gate_bias[row];
            if (up_bias) sums.y += up_bias[row];
            inner[row] = activate_one(sums.x, nonlinearity) * sums.y;
        }
    }
}

#define DEFINE(name, Format)                                                                                           \
    extern "C" __global__ void __launch_bounds__(256) decode_gate_up_##name(                                          \
        float* inner, const float* residual, const float* norm_weight, const float* norm_bias, Weight gate, Weight up, \
        const float* gate_bias, const float* up_bias, int hidden, int rows, int nonlinearity, float epsilon) {        \
        decode_gate_up<Format>(                                                                                       \
            inner, residual, norm_weight, norm_bias, gate, up, gate_bias, up_bias, hidden, rows, nonlinearity,        \
            epsilon);                                                                                                 \
    }
FOR_EVERY_FORMAT(DEFINE)
