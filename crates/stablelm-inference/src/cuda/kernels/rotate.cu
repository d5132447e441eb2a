// Rotary position embedding, in place.
//
//     (a, b) -> (a cos - b sin, b cos + a sin) for the pairs (i, i + pairs) of each head, i < pairs
//
// heads: [rows, width] f32, width a multiple of head_dim; cos, sin: [rows, pairs]. One thread a pair of numbers.
#include "common.cuh"

extern "C" __global__ void rotate(
    float* heads, const float* cos, const float* sin, int rows, int width, int head_dim, int pairs) {
    int turns = width / head_dim * pairs;
    size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= (size_t)rows * turns) return;
    int row = at / turns, head = at % turns / pairs, pair = at % pairs;
    float* low = heads + (size_t)row * width + head * head_dim + pair;
    float c = cos[row * pairs + pair], s = sin[row * pairs + pair];
    float a = low[0], b = low[pairs];
    low[0] = a * c - b * s;
    low[pairs] = b * c + a * s;
}
