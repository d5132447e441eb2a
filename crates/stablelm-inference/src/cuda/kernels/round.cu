// Activations for a product in 16 bits.
//
//     output[i] = round(input[i])
//
// input: [len] f32; output: [len]. One thread a number.
#include "common.cuh"

extern "C" __global__ void round_to_bf16(u16* output, const float* input, int len) {
    int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < len) output[at] = round_bf16(input[at]);
}

extern "C" __global__ void round_to_f16(u16* output, const float* input, int len) {
    int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < len) output[at] = round_f16(input[at]);
}
