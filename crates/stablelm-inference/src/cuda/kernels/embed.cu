// Rows of the embedding.
//
//     output[p, c] = table[ids[p], c]
//
// output: [positions, columns] f32; table: [vocabulary, columns]; ids: [positions], each below the vocabulary.
// One block a position.
#include "common.cuh"
#include "weights.cuh"

template <class F>
__device__ void embed(float* output, const Weight& table, const int* ids, int columns) {
    int row = ids[blockIdx.x];
    output += (size_t)blockIdx.x * columns;
    for (int column = threadIdx.x; column < columns; column += blockDim.x) {
        output[column] = F::one(table, columns, row, column);
    }
}

#define DEFINE(name, Format)                                                                               \
    extern "C" __global__ void embed_##name(float* output, Weight table, const int* ids, int columns) { \
        embed<Format>(output, table, ids, columns);                                                       \
    }
FOR_EVERY_FORMAT(DEFINE)
