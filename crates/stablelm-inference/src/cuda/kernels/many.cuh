// Products of a matrix with the rows of up to 16 sequences, on tensor cores: what decoding several sequences is made of.
//
// Each weight is read once for all sequences, from device memory into the registers of one lane. Activations are rows in
// the format that products are made in, from the first level cache: bf16 beside weights in bf16 and in blocks, f16 beside
// f16, f32 beside f32 (there without tensor cores). Weights in blocks are widened and rounded to bf16, whose range is that
// of f32, so that no factor is too large.
//
// A tile is eight rows of a matrix. The warps of a block share its columns, each lane with one vector of 16 bytes of one
// row at a time: four lanes take a run of four vectors. In the fragments of `mma.cuh` sequences are the rows of the left
// matrix, and the tile's rows the columns of the right one. Which columns are multiplied together in one step is of no
// interest, as long as both sides have the same: a lane's eight numbers in one go, first and second four of two steps.
//
// What is not there reads as 0, sequences as they may; each sequence's sums are of its own row alone.
#include "many_rows.cuh"
#include "mma.cuh"
#include "weights.cuh"

// Rows of a tile, and its sums.
#define TILE_ROWS 8
#define TILE_SUMS (SEQUENCES * TILE_ROWS)
#define BLOCK_WARPS 8
// How many vectors of a lane are asked for at a time, for all matrices together; as many again are on their way meanwhile.
#define ASKED 4

// Returns two numbers rounded to bf16, the first in the lower half.
__device__ __forceinline__ u32 two_bf16(float low, float high) {
    u32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

// Returns eight weights of a vector, the `eight`th, as four pairs in 16 bits: as they are, or rounded to bf16.
template <class Wide>
__device__ __forceinline__ void pairs_of(const Halves<Wide>&, const Vector& vector, int eight, u32* pairs) {
#pragma unroll
    for (int pair = 0; pair < 4; pair++) pairs[pair] = bits_of(vector.bits, pair);
}

// Widens the bytes of a pair.
template <int OFFSET>
__device__ __forceinline__ u32 widened_pair(const Scaled& run, u32 word, int pair) {
    float low = byte_of(word, pair % 2 * 2, OFFSET), high = byte_of(word, pair % 2 * 2 + 1, OFFSET);
    return two_bf16(run.scale * low - run.minimum, run.scale * high - run.minimum);
}

template <class Scales, int OFFSET, bool MINIMA>
__device__ __forceinline__ void pairs_of(
    const Bytes<Scales, OFFSET, MINIMA>&, const Vector& vector, int eight, u32* pairs) {
#pragma unroll
    for (int pair = 0; pair < 4; pair++) {
        pairs[pair] = widened_pair<OFFSET>(vector.scaled, bits_of(vector.bits, 2 * eight + pair / 2), pair);
    }
}

template <class Scales, int OFFSET, bool MINIMA>
__device__ __forceinline__ void pairs_of(
    const Nibbles<Scales, OFFSET, MINIMA>&, const Vector& vector, int eight, u32* pairs) {
#pragma unroll
    for (int pair = 0; pair < 4; pair++) {
        u32 word = bits_of(vector.bits, eight % 2 * 2 + pair / 2) >> (eight / 2 * 4) & 0x0f0f0f0fu;
        pairs[pair] = widened_pair<OFFSET>(vector.scaled, word, pair);
    }
}

// Which product a format of 16 bits, or one that is rounded to that, takes.
template <class F>
__device__ __forceinline__ void multiply_add(const F&, float* sums, const u32* left, const u32* right) {
    multiply_add_bf16(sums, left, right);
}
__device__ __forceinline__ void multiply_add(const F16&, float* sums, const u32* left, const u32* right) {
    multiply_add_f16(sums, left, right);
}

// A lane's share of a tile's sums.
template <class F> struct Sums {
    float values[4];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < 4; i++) values[i] = 0.0f;
    }
    // Writes a warp's sums to [sequence][row].
    __device__ __forceinline__ void leave(float* tile) const {
        int group = threadIdx.x % WARP / 4, pair = threadIdx.x % 4 * 2;
        *(float2*)(tile + group * TILE_ROWS + pair) = make_float2(values[0], values[1]);
        *(float2*)(tile + (group + 8) * TILE_ROWS + pair) = make_float2(values[2], values[3]);
    }
};

// In f32 a lane sums the columns that it has read, for every sequence.
template <> struct Sums<F32> {
    float values[SEQUENCES];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < SEQUENCES; i++) values[i] = 0.0f;
    }
    __device__ __forceinline__ void leave(float* tile) const {
        int row = threadIdx.x % WARP / 4;
#pragma unroll
        for (int sequence = 0; sequence < SEQUENCES; sequence++) {
            float sum = values[sequence];
            sum += __shfl_xor_sync(EVERY_LANE, sum, 1);
            sum += __shfl_xor_sync(EVERY_LANE, sum, 2);
            if (threadIdx.x % 4 == sequence / 4) tile[sequence * TILE_ROWS + row] = sum;
        }
    }
};

// Adds the products of the vectors number `at` of each matrix to its sums; where a row ends before, they are 0.
template <class F, int MATRICES>
__device__ __forceinline__ void add_products(
    Sums<F>* sums, const Vector* vectors, const void* x, int columns, int sequences, int at) {
    int group = threadIdx.x % WARP / 4;
    bool is_inside = at < columns / F::VALUES, has_upper = sequences > 8;
    const u16* from = (const u16*)x + (size_t)group * columns + at * F::VALUES;
#pragma unroll
    for (int eight = 0; eight < F::VALUES / 8; eight++) {
        uint4 low = make_uint4(0, 0, 0, 0), high = low;
        if (is_inside) low = *(const uint4*)(from + 8 * eight);
        if (is_inside && has_upper) high = *(const uint4*)(from + (size_t)8 * columns + 8 * eight);
#pragma unroll
        for (int matrix = 0; matrix < MATRICES; matrix++) {
            u32 pairs[4];
            pairs_of(F(), vectors[matrix], eight, pairs);
#pragma unroll
            for (int step = 0; step < 2; step++) {
                u32 left[4] = {
                    bits_of(low, 2 * step), bits_of(high, 2 * step), bits_of(low, 2 * step + 1),
                    bits_of(high, 2 * step + 1)};
                multiply_add(F(), sums[matrix].values, left, pairs + 2 * step);
            }
        }
    }
}

template <int MATRICES>
__device__ __forceinline__ void add_products_f32(
    Sums<F32>* sums, const Vector* vectors, const void* x, int columns, int sequences, int at) {
    if (at >= columns / F32::VALUES) return;
    const float* from = (const float*)x + at * F32::VALUES;
#pragma unroll
    for (int sequence = 0; sequence < SEQUENCES; sequence++) {
        if (sequence >= sequences) continue;
        float4 factors = *(const float4*)(from + (size_t)sequence * columns);
#pragma unroll
        for (int matrix = 0; matrix < MATRICES; matrix++) {
            const uint4& bits = vectors[matrix].bits;
            sums[matrix].values[sequence] += word_of(bits, 0) * factors.x + word_of(bits, 1) * factors.y
                + word_of(bits, 2) * factors.z + word_of(bits, 3) * factors.w;
        }
    }
}
template <>
__device__ __forceinline__ void add_products<F32, 1>(
    Sums<F32>* sums, const Vector* vectors, const void* x, int columns, int sequences, int at) {
    add_products_f32<1>(sums, vectors, x, columns, sequences, at);
}
template <>
__device__ __forceinline__ void add_products<F32, 2>(
    Sums<F32>* sums, const Vector* vectors, const void* x, int columns, int sequences, int at) {
    add_products_f32<2>(sums, vectors, x, columns, sequences, at);
}

// A tile of each of some matrices, and the part of its columns that is summed.
template <int MATRICES> struct Tile {
    Weight weights[MATRICES];
    // The first row, and how many the matrix has.
    int row, rows;
    // Runs of columns, four vectors each.
    int first_run, end_run;
};

// Asks for a lane's vectors number `group * asked` and on of a tile.
template <class F, int MATRICES>
__device__ __forceinline__ void ask(Vector* vectors, const Tile<MATRICES>& tile, int columns, int group) {
    const int asked = ASKED / MATRICES;
    // The last tile of a matrix may have rows that are not there: they read the last one, and nobody reads their sums.
    int row = min(tile.row + (int)threadIdx.x % WARP / 4, tile.rows - 1);
#pragma unroll
    for (int i = 0; i < asked; i++) {
        int run = tile.first_run + (group * asked + i) * BLOCK_WARPS + threadIdx.x / WARP;
        int at = 4 * run + threadIdx.x % 4;
        bool is_there = run < tile.end_run && at < columns / F::VALUES;
#pragma unroll
        for (int matrix = 0; matrix < MATRICES; matrix++) {
            Vector& vector = vectors[i * MATRICES + matrix];
            if (is_there) vector = F::load(tile.weights[matrix], columns, row, at);
            else vector = Vector{make_uint4(0, 0, 0, 0), {0.0f, 0.0f}};
        }
    }
}

// Sums the tiles of a job, by blocks that take them in turn.
//
// A job says how many tiles there are, `tile(nth)` is one, and `finish(nth, sequence, row, sums)` takes the sums of a row
// of each matrix. The first vectors of the next tile are asked for before the sums of one are put together.
template <class F, int MATRICES, class Job>
__device__ __forceinline__ void share_out(const Job& job, const void* x, int columns, int sequences) {
    const int asked = ASKED / MATRICES;
    // Two, so that a warp can leave its sums of one tile while others still read those of the one before.
    __shared__ __align__(16) float left[2][MATRICES][BLOCK_WARPS][TILE_SUMS];
    int warp = threadIdx.x / WARP, tiles = job.tiles();
    // There are no more blocks than tiles, but for a few of the smallest matrices: those begin with the last one, for nobody.
    Tile<MATRICES> tile = job.tile(min((int)blockIdx.x, tiles - 1));
    Vector now[asked * MATRICES], next[asked * MATRICES];
    // Weights are all that can be read before the kernels before have ended.
    ask<F, MATRICES>(now, tile, columns, 0);
    wait_for_others();
    int turn = 0;
    for (int nth = blockIdx.x; nth < tiles; nth += gridDim.x) {
        Sums<F> sums[MATRICES];
#pragma unroll
        for (int matrix = 0; matrix < MATRICES; matrix++) sums[matrix].clear();
        int first_run = tile.first_run, end_run = tile.end_run;
        int groups = (end_run - first_run + BLOCK_WARPS * asked - 1) / (BLOCK_WARPS * asked);
        for (int group = 0; group < groups; group++) {
            bool is_last = group + 1 == groups;
            if (is_last && nth + gridDim.x < tiles) tile = job.tile(nth + gridDim.x);
            if (!is_last || nth + gridDim.x < tiles) ask<F, MATRICES>(next, tile, columns, is_last ? 0 : group + 1);
#pragma unroll
            for (int i = 0; i < asked; i++) {
                int run = first_run + (group * asked + i) * BLOCK_WARPS + warp;
                // The same for all lanes of a warp.
                if (run < end_run) {
                    int at = 4 * run + threadIdx.x % 4;
                    add_products<F, MATRICES>(sums, now + i * MATRICES, x, columns, sequences, at);
                }
            }
#pragma unroll
            for (int i = 0; i < asked * MATRICES; i++) now[i] = next[i];
        }
#pragma unroll
        for (int matrix = 0; matrix < MATRICES; matrix++) sums[matrix].leave(left[turn][matrix][warp]);
        __syncthreads();
        if (threadIdx.x < TILE_SUMS) {
            float totals[MATRICES];
#pragma unroll
            for (int matrix = 0; matrix < MATRICES; matrix++) {
                totals[matrix] = 0.0f;
                for (int of = 0; of < BLOCK_WARPS; of++) totals[matrix] += left[turn][matrix][of][threadIdx.x];
            }
            int sequence = threadIdx.x / TILE_ROWS;
            if (sequence < sequences) job.finish(nth, sequence, threadIdx.x % TILE_ROWS, totals);
        }
        turn = 1 - turn;
    }
}

// Returns how many tiles a matrix has.
__device__ __forceinline__ int tiles_of(int rows) { return (rows + TILE_ROWS - 1) / TILE_ROWS; }

// Returns how many runs of four vectors a row has, the last of which may end early.
template <class F>
__device__ __forceinline__ int runs_of(int columns) { return (columns / F::VALUES + 3) / 4; }
