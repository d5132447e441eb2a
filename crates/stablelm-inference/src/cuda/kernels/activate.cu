// The nonlinearity of the MLP, in place, and the product with what the other half of it gives.
//
//     values[i] = f(values[i]) * factor[i]
//
// values: [len] f32; factor: [len] f32, or null for a factor of 1; f: SiLU, GELU by the error function, or GELU by tanh
// (`activate_one`). One thread a number.
#include "common.cuh"

extern "C" __global__ void activate(float* values, const float* factor, int len, int nonlinearity) {
    int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= len) return;
    float value = activate_one(values[at], nonlinearity);
    values[at] = factor ? value * factor[at] : value;
}
