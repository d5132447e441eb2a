// Causal attention of many new positions on tensor cores: what `attend.cu` does, for caches in halves or FP8 E4M3.
//
//     output[p, h] = sum over t <= past + p of softmax_t(scale * query[p, h] . key[t, k]) * value[t, k]
//     with k = h / (num_heads / num_key_value_heads)
//
// queries, output: [positions, num_heads * DIM] f32; caches: [num_key_value_heads, capacity, DIM], halves or FP8
// E4M3; variants are named by that and by DIM, the dimensions of a head. Keys and values are multiplied as halves, exact
// ones, and queries and the shares of softmax are rounded to halves; products are summed, and the softmax is made, in f32.
//
// One block of four warps a head and 64 positions, 16 of them a warp's. It goes over the cache in tiles of 64 positions
// (online softmax). In the fragments of `mma.cuh` the scores of two tiles of 8 keys are the left matrix of the next product
// as they are.
#include "cached.cuh"
#include "mma.cuh"

#define QUERIES 64
#define KEYS 64
#define ROWS 16

__device__ __forceinline__ u32 two_halves(float low, float high) {
    return (u32)round_f16(low) | (u32)round_f16(high) << 16;
}

template <class T, int DIM>
__device__ void attend_mma(
    float* output, const float* queries, const T* key_cache, const T* value_cache, int positions, int past, int num_heads,
    int num_key_value_heads, int capacity, float scale) {
    // Rows are 16 bytes longer than their numbers, so that the lanes of a warp read from different banks.
    __shared__ __align__(16) u16 keys[KEYS][DIM + 8];
    // Values lie dimension by dimension, since products go along positions.
    __shared__ __align__(16) u16 values[DIM][KEYS + 8];
    int head = blockIdx.x, first = blockIdx.y * QUERIES;
    int cached = head / (num_heads / num_key_value_heads);
    const T* key_rows = key_cache + (size_t)cached * capacity * DIM;
    const T* value_rows = value_cache + (size_t)cached * capacity * DIM;
    int group = threadIdx.x % WARP / 4, pair = threadIdx.x % 4 * 2;
    // The two positions whose sums this lane has.
    int low = first + threadIdx.x / WARP * ROWS + group, high = low + 8;
    int width = num_heads * DIM;
    u32 query[DIM / 16][4];
#pragma unroll
    for (int step = 0; step < DIM / 16; step++) {
#pragma unroll
        for (int part = 0; part < 4; part++) {
            int position = part % 2 ? high : low, dim = 16 * step + pair + part / 2 * 8;
            const float* from = queries + (size_t)position * width + head * DIM + dim;
            bool inside = position < positions;
            query[step][part] = inside ? two_halves(from[0] * scale, from[1] * scale) : 0;
        }
    }
    float sums[DIM / 8][4] = {};
    float largest[2] = {-INFINITY, -INFINITY}, total[2] = {0.0f, 0.0f};
    int end = past + min(first + QUERIES, positions);
    for (int start = 0; start < end; start += KEYS) {
        __syncthreads();
        for (int at = threadIdx.x; at < KEYS * DIM / 8; at += blockDim.x) {
            int key = at / (DIM / 8), dim = at % (DIM / 8) * 8;
            uint4 eight = make_uint4(0, 0, 0, 0);
            uint4 other = make_uint4(0, 0, 0, 0);
            if (start + key < end) {
                eight = load_halves(key_rows + (size_t)(start + key) * DIM + dim);
                other = load_halves(value_rows + (size_t)(start + key) * DIM + dim);
            }
            *(uint4*)&keys[key][dim] = eight;
            u32 words[4] = {other.x, other.y, other.z, other.w};
#pragma unroll
            for (int i = 0; i < 8; i++) values[dim + i][key] = words[i / 2] >> (i % 2 * 16) & 0xffff;
        }
        __syncthreads();
        float scores[KEYS / 8][4] = {};
        float highest[2] = {largest[0], largest[1]};
#pragma unroll
        for (int tile = 0; tile < KEYS / 8; tile++) {
#pragma unroll
            for (int step = 0; step < DIM / 16; step++) {
                const u16* from = &keys[8 * tile + group][16 * step + pair];
                u32 key[2] = {*(const u32*)from, *(const u32*)(from + 8)};
                multiply_add_f16(scores[tile], query[step], key);
            }
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int position = past + (i < 2 ? low : high), key = start + 8 * tile + pair + i % 2;
                if (key > position) scores[tile][i] = -INFINITY;
                highest[i / 2] = fmaxf(highest[i / 2], scores[tile][i]);
            }
        }
        float rescale[2];
#pragma unroll
        for (int i = 0; i < 2; i++) {
            // The four lanes of a group have the scores of the same two positions.
            highest[i] = fmaxf(highest[i], __shfl_xor_sync(EVERY_LANE, highest[i], 1));
            highest[i] = fmaxf(highest[i], __shfl_xor_sync(EVERY_LANE, highest[i], 2));
            // The first tile holds position 0, which every query sees: from there on, `highest` is a number.
            rescale[i] = expf(largest[i] - highest[i]);
            largest[i] = highest[i];
            total[i] *= rescale[i];
        }
#pragma unroll
        for (int tile = 0; tile < KEYS / 8; tile++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                scores[tile][i] = expf(scores[tile][i] - largest[i / 2]);
                total[i / 2] += scores[tile][i];
            }
        }
#pragma unroll
        for (int tile = 0; tile < DIM / 8; tile++) {
#pragma unroll
            for (int i = 0; i < 4; i++) sums[tile][i] *= rescale[i / 2];
        }
#pragma unroll
        for (int step = 0; step < KEYS / 16; step++) {
            const float* left = scores[2 * step];
            const float* right = scores[2 * step + 1];
            u32 shares[4] = {
                two_halves(left[0], left[1]), two_halves(left[2], left[3]), two_halves(right[0], right[1]),
                two_halves(right[2], right[3])};
#pragma unroll
            for (int tile = 0; tile < DIM / 8; tile++) {
                const u16* from = &values[8 * tile + group][16 * step + pair];
                u32 value[2] = {*(const u32*)from, *(const u32*)(from + 8)};
                multiply_add_f16(sums[tile], shares, value);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
        total[i] += __shfl_xor_sync(EVERY_LANE, total[i], 1);
        total[i] += __shfl_xor_sync(EVERY_LANE, total[i], 2);
    }
#pragma unroll
    for (int tile = 0; tile < DIM / 8; tile++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int position = i < 2 ? low : high;
            size_t to = (size_t)position * width + head * DIM + 8 * tile + pair + i % 2;
            if (position < positions) output[to] = sums[tile][i] / total[i / 2];
        }
    }
}

#define DEFINE(name, Number, dim)                                                                                      \
    extern "C" __global__ void __launch_bounds__(128) attend_mma_##name##_##dim(                                      \
        float* output, const float* queries, const Number* key_cache, const Number* value_cache, int positions,       \
        int past, int num_heads, int num_key_value_heads, int capacity, float scale) {                                \
        attend_mma<Number, dim>(                                                                                      \
            output, queries, key_cache, value_cache, positions, past, num_heads, num_key_value_heads, capacity,       \
            scale);                                                                                                   \
    }
#define DEFINE_EACH(dim)   \
    DEFINE(f16, u16, dim) \
    DEFINE(f8, u8, dim)
DEFINE_EACH(64)
DEFINE_EACH(80)
DEFINE_EACH(128)
DEFINE_EACH(160)
