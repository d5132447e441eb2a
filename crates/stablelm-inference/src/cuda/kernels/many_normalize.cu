// Decoding several sequences: what matrices have left is added to the residual stream, which is normalized.
//
//     residual[s] += sum over parts of partial[part, s]
//     output[s] = (residual[s] - mean) / sqrt(variance + epsilon) * weight + bias
//
// residual: [16, width] f32; partial: [parts, 16, width] f32, of no interest where `parts` is 0; weight, bias (or null):
// [width]; output: [16, width] in the format `row_format` (many_rows.cuh); width a multiple of 4. One block a sequence.
#include "many_rows.cuh"

extern "C" __global__ void __launch_bounds__(256) many_normalize(
    void* output, float* residual, const float* partial, const float* weight, const float* bias, int width, int parts,
    int row_format, float epsilon) {
    extern __shared__ __align__(16) float normed[];
    __shared__ float room[WARP];
    wait_for_others();
    size_t start = (size_t)blockIdx.x * width;
    float sum = 0.0f;
    for (int column = 4 * threadIdx.x; column < width; column += 4 * blockDim.x) {
        float4 value = *(const float4*)(residual + start + column);
        for (int part = 0; part < parts; part++) {
            float4 more = *(const float4*)(partial + (size_t)part * SEQUENCES * width + start + column);
            value.x += more.x, value.y += more.y, value.z += more.z, value.w += more.w;
        }
        if (parts > 0) *(float4*)(residual + start + column) = value;
        *(float4*)(normed + column) = value;
        sum += value.x + value.y + value.z + value.w;
    }
    float mean = block_sum(sum, room) / width;
    float squares = 0.0f;
    for (int column = threadIdx.x; column < width; column += blockDim.x) {
        float away = normed[column] - mean;
        squares += away * away;
    }
    float scale = rsqrtf(block_sum(squares, room) / width + epsilon);
    for (int column = threadIdx.x; column < width; column += blockDim.x) {
        float value = (normed[column] - mean) * scale * weight[column];
        store_row(row_format, output, start + column, bias ? value + bias[column] : value);
    }
}
