// Decoding, launches 3 and 5 of 5 of a layer: the output projection of attention and the down projection of the MLP,
// each added to the residual stream.
//
//     residual[r] += sum over c of weight[r, c] * x[c] + bias[r]
//
// residual: [rows] f32; weight: [rows, columns]; x: [columns] f32, aligned to 16 bytes; bias: [rows] f32, or null. A warp
// sums two neighboring rows at a time.
#include "common.cuh"
#include "weights.cuh"
#include "rows.cuh"

template <class F>
__device__ void decode_project(
    float* residual, const Weight& weight, const float* x, const float* bias, int rows, int columns) {
    int warps = gridDim.x * blockDim.x / WARP;
    int warp = (blockIdx.x * blockDim.x + threadIdx.x) / WARP;
    if (2 * warp < rows) prefetch_rows<F>(weight, 2 * warp, weight, min(2 * warp + 1, rows - 1), columns);
    wait_for_others();
    for (int row = 2 * warp; row < rows; row += 2 * warps) {
        int next = min(row + 1, rows - 1);
        float2 sums = two_rows<F>(weight, row, weight, next, columns, x);
        if (threadIdx.x % WARP == 0) {
            residual[row] += bias ? sums.x + bias[row] : sums.x;
            if (next > row) residual[next] += bias ? sums.y + bias[next] : sums.y;
        }
    }
}

#define DEFINE(name, Format)                                                                                 \
    extern "C" __global__ void __launch_bounds__(256) decode_project_##name(                                \
        float* residual, Weight weight, const float* x, const float* bias, int rows, int columns) {         \
        decode_project<Format>(residual, weight, x, bias, rows, columns);                                   \
    }
FOR_EVERY_FORMAT(DEFINE)
