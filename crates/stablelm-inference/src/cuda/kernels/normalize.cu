// Layer normalization of whole rows, or of each head of a row.
//
//     output = (x - mean) / sqrt(variance + epsilon) * weight + bias, over each run of `group` values
//
// x, output: [rows, width] f32; weight, bias (or null): [width]; group divides width. One block a run. The mean is
// taken off before squares are summed, so that f32 is enough.
#include "common.cuh"

extern "C" __global__ void normalize(
    float* output, const float* x, const float* weight, const float* bias, int width, int group, float epsilon) {
    __shared__ float room[WARP];
    size_t start = (size_t)blockIdx.x * group;
    int column = start % width;
    x += start;
    output += start;
    float sum = 0.0f;
    for (int i = threadIdx.x; i < group; i += blockDim.x) sum += x[i];
    float mean = block_sum(sum, room) / group;
    float squares = 0.0f;
    for (int i = threadIdx.x; i < group; i += blockDim.x) squares += (x[i] - mean) * (x[i] - mean);
    float scale = rsqrtf(block_sum(squares, room) / group + epsilon);
    for (int i = threadIdx.x; i < group; i += blockDim.x) {
        float value = (x[i] - mean) * scale * weight[column + i];
        output[i] = bias ? value + bias[column + i] : value;
    }
}
