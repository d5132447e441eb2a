// A matrix by a few rows of activations.
//
//     output[p, r] = sum over c of weight[r, c] * x[p, c] + bias[r]
//
// output: [positions, rows] f32; weight: [rows, columns]; x: [positions, columns] f32; bias: [rows] f32, or null.
// A warp sums two neighboring rows at a time for one position, and goes on to the next two until none are left; the grid
// is [blocks, positions], with as many blocks as keep the device busy. For a few positions only: each reads all weights,
// though mostly from the second level cache.
#include "common.cuh"
#include "weights.cuh"
#include "rows.cuh"

template <class F>
__device__ void gemv(float* output, const Weight& weight, const float* x, const float* bias, int rows, int columns) {
    x += (size_t)blockIdx.y * columns;
    output += (size_t)blockIdx.y * rows;
    int warps = gridDim.x * blockDim.x / WARP;
    int warp = (blockIdx.x * blockDim.x + threadIdx.x) / WARP;
    for (int row = 2 * warp; row < rows; row += 2 * warps) {
        int next = min(row + 1, rows - 1);
        float2 sums = two_rows<F>(weight, row, weight, next, columns, x);
        if (threadIdx.x % WARP == 0) {
            output[row] = bias ? sums.x + bias[row] : sums.x;
            if (next > row) output[next] = bias ? sums.y + bias[next] : sums.y;
        }
    }
}

#define DEFINE(name, Format)                                                                            \
    extern "C" __global__ void __launch_bounds__(256) gemv_##name(                                     \
        float* output, Weight weight, const float* x, const float* bias, int rows, int columns) {      \
        gemv<Format>(output, weight, x, bias, rows, columns);                                          \
    }
FOR_EVERY_FORMAT(DEFINE)
