// Sums, in place.
//
//     left[i] += right[i % period]
//
// left: [len] f32; right: [period] f32. A residual has period = len; a bias is as long as a row. One thread a number.
#include "common.cuh"

extern "C" __global__ void add(float* left, const float* right, int len, int period) {
    int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < len) left[at] += right[at % period];
}
