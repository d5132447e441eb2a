// The first step of decoding a token: its row of the embedding becomes the residual stream.
//
//     residual[c] = table[state[0], c]
//
// residual: [columns] f32; table: [vocabulary, columns]; state: the token and its position, in device memory so that one
// graph serves every step. One thread a column.
#include "common.cuh"
#include "weights.cuh"

template <class F>
__device__ void decode_embed(float* residual, const Weight& table, const int* state, int columns) {
    wait_for_others();
    int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column < columns) residual[column] = F::one(table, columns, state[0], column);
}

#define DEFINE(name, Format)                                                                                        \
    extern "C" __global__ void decode_embed_##name(float* residual, Weight table, const int* state, int columns) { \
        decode_embed<Format>(residual, table, state, columns);                                                     \
    }
FOR_EVERY_FORMAT(DEFINE)
