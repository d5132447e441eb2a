// A matrix by many rows of activations, all in f32.
//
//     output[p, r] = sum over c of weight[r, c] * x[p, c] + bias[r]
//
// output: [positions, rows] f32; weight: [rows, columns]; x: [positions, columns] f32; bias: [rows] f32, or null.
// The way for matrices in blocks, whose weights are widened exactly, and for any matrix where cuBLASLt is not at hand.
// A block of 256 threads makes a tile of 64 positions by 64 rows; columns pass through shared memory 32 at a time; a
// thread sums 4 positions by 4 rows.
#include "common.cuh"
#include "weights.cuh"

#define TILE 64
#define STEP 32
// A column of a tile in shared memory, a little longer so that writes of a warp fall into different banks.
#define PITCH (TILE + 4)

// Reads eight numbers of a row, 0 where there are none.
template <class F>
__device__ __forceinline__ void load_eight(
    const Weight& matrix, int rows, int columns, int row, int column, float* output) {
    bool whole = row < rows && column + 8 <= columns;
    if (whole) {
        F::eight(matrix, columns, row, column, output);
    } else {
        for (int i = 0; i < 8; i++) {
            bool inside = row < rows && column + i < columns;
            output[i] = inside ? F::one(matrix, columns, row, column + i) : 0.0f;
        }
    }
}

template <class F>
__device__ void gemm(
    float* output, const Weight& weight, const float* x, const float* bias, int positions, int rows, int columns) {
    __shared__ __align__(16) float inputs[STEP][PITCH];
    __shared__ __align__(16) float weights[STEP][PITCH];
    int first_row = blockIdx.x * TILE, first_position = blockIdx.y * TILE;
    Weight activations = {(const u8*)x, nullptr, nullptr};
    // What this thread loads: eight columns of one row of each tile.
    int load_row = threadIdx.x / 4, load_column = threadIdx.x % 4 * 8;
    // What it sums: four rows and four positions.
    int sum_row = threadIdx.x % 16 * 4, sum_position = threadIdx.x / 16 * 4;
    float sums[4][4] = {};
    for (int column = 0; column < columns; column += STEP) {
        float eight[8];
        load_eight<F32>(activations, positions, columns, first_position + load_row, column + load_column, eight);
#pragma unroll
        for (int i = 0; i < 8; i++) inputs[load_column + i][load_row] = eight[i];
        load_eight<F>(weight, rows, columns, first_row + load_row, column + load_column, eight);
#pragma unroll
        for (int i = 0; i < 8; i++) weights[load_column + i][load_row] = eight[i];
        __syncthreads();
#pragma unroll 8
        for (int step = 0; step < STEP; step++) {
            float4 input = *(const float4*)&inputs[step][sum_position];
            float4 factor = *(const float4*)&weights[step][sum_row];
            float in[4] = {input.x, input.y, input.z, input.w};
            float by[4] = {factor.x, factor.y, factor.z, factor.w};
#pragma unroll
            for (int p = 0; p < 4; p++) {
#pragma unroll
                for (int r = 0; r < 4; r++) sums[p][r] += in[p] * by[r];
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int p = 0; p < 4; p++) {
#pragma unroll
        for (int r = 0; r < 4; r++) {
            int position = first_position + sum_position + p, row = first_row + sum_row + r;
            if (position < positions && row < rows) {
                output[(size_t)position * rows + row] = bias ? sums[p][r] + bias[row] : sums[p][r];
            }
        }
    }
}

#define DEFINE(name, Format)                                                                                           \
    extern "C" __global__ void __launch_bounds__(256) gemm_##name(                                                    \
        float* output, Weight weight, const float* x, const float* bias, int positions, int rows, int columns) {      \
        gemm<Format>(output, weight, x, bias, positions, rows, columns);                                              \
    }
FOR_EVERY_FORMAT(DEFINE)
