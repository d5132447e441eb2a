// Causal attention of a run of new positions over all that the cache holds, the new ones included.
//
//     output[p, h] = sum over t <= past + p of softmax_t(scale * query[p, h] . key[t, k]) * value[t, k]
//     with k = h / (num_heads / num_key_value_heads)
//
// queries, output: [positions, num_heads * head_dim] f32; caches: [num_key_value_heads, capacity, head_dim], in f32,
// halves or FP8 E4M3. One block a head and 16 positions, which goes over the cache in tiles of 32 positions and keeps a
// running maximum and sum (online softmax), all in f32. Eight threads share a query: each makes every eighth score of a
// tile and owns every eighth dimension of the output. Variants are named by the most dimensions that a head may have.
#include "cached.cuh"

#define QUERIES 16
#define KEYS 32
#define SHARERS 8

template <class T, int MOST>
__device__ void attend(
    float* output, const float* queries, const T* key_cache, const T* value_cache, int positions, int past,
    int num_heads, int num_key_value_heads, int head_dim, int capacity, float scale) {
    // One more number a row, so that threads of a warp read from different banks.
    __shared__ float query[QUERIES][MOST + 1];
    __shared__ float tile[KEYS][MOST + 1];
    __shared__ float shares[QUERIES][KEYS + 1];
    int head = blockIdx.x, first = blockIdx.y * QUERIES;
    int cached = head / (num_heads / num_key_value_heads);
    const T* keys = key_cache + (size_t)cached * capacity * head_dim;
    const T* values = value_cache + (size_t)cached * capacity * head_dim;
    int width = num_heads * head_dim;
    for (int at = threadIdx.x; at < QUERIES * head_dim; at += blockDim.x) {
        int row = at / head_dim, dim = at % head_dim;
        bool inside = first + row < positions;
        query[row][dim] = inside ? queries[(size_t)(first + row) * width + head * head_dim + dim] * scale : 0.0f;
    }
    int row = threadIdx.x / SHARERS, sharer = threadIdx.x % SHARERS;
    // The last position that this thread's query sees.
    int last = past + first + row;
    float largest = -INFINITY, total = 0.0f;
    float sums[MOST / SHARERS] = {};
    int end = min(past + first + QUERIES, past + positions);
    for (int start = 0; start < end; start += KEYS) {
        int count = min(KEYS, end - start);
        __syncthreads();
        for (int at = threadIdx.x; at < KEYS * head_dim; at += blockDim.x) {
            int key = at / head_dim;
            tile[key][at % head_dim] = key < count ? widen(keys[(size_t)start * head_dim + at]) : 0.0f;
        }
        __syncthreads();
        float scores[KEYS / SHARERS] = {};
        for (int dim = 0; dim < head_dim; dim++) {
            float factor = query[row][dim];
#pragma unroll
            for (int i = 0; i < KEYS / SHARERS; i++) scores[i] += factor * tile[sharer + i * SHARERS][dim];
        }
        float highest = largest;
#pragma unroll
        for (int i = 0; i < KEYS / SHARERS; i++) {
            int key = sharer + i * SHARERS;
            if (key >= count || start + key > last) scores[i] = -INFINITY;
            highest = fmaxf(highest, scores[i]);
        }
        // The eight threads of a query are neighbors in a warp.
        for (int lane = SHARERS / 2; lane > 0; lane /= 2) {
            highest = fmaxf(highest, __shfl_xor_sync(EVERY_LANE, highest, lane));
        }
        // The first tile holds position 0, which every query sees: from there on, `highest` is a number.
        float rescale = expf(largest - highest);
        float sum = 0.0f;
#pragma unroll
        for (int i = 0; i < KEYS / SHARERS; i++) {
            float share = expf(scores[i] - highest);
            shares[row][sharer + i * SHARERS] = share;
            sum += share;
        }
        for (int lane = SHARERS / 2; lane > 0; lane /= 2) sum += __shfl_xor_sync(EVERY_LANE, sum, lane);
        total = total * rescale + sum;
        largest = highest;
        __syncthreads();
        for (int at = threadIdx.x; at < KEYS * head_dim; at += blockDim.x) {
            int key = at / head_dim;
            tile[key][at % head_dim] = key < count ? widen(values[(size_t)start * head_dim + at]) : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < MOST / SHARERS; i++) sums[i] *= rescale;
        for (int key = 0; key < count; key++) {
            float share = shares[row][key];
#pragma unroll
            for (int i = 0; i < MOST / SHARERS; i++) {
                int dim = sharer + i * SHARERS;
                if (dim < head_dim) sums[i] += share * tile[key][dim];
            }
        }
    }
    if (first + row >= positions) return;
#pragma unroll
    for (int i = 0; i < MOST / SHARERS; i++) {
        int dim = sharer + i * SHARERS;
        if (dim < head_dim) output[(size_t)(first + row) * width + head * head_dim + dim] = sums[i] / total;
    }
}

#define DEFINE(name, Number, most)                                                                                     \
    extern "C" __global__ void __launch_bounds__(QUERIES * SHARERS) attend_##name##_##most(                           \
        float* output, const float* queries, const Number* key_cache, const Number* value_cache, int positions,       \
        int past, int num_heads, int num_key_value_heads, int head_dim, int capacity, float scale) {                  \
        attend<Number, most>(                                                                                         \
            output, queries, key_cache, value_cache, positions, past, num_heads, num_key_value_heads, head_dim,       \
            capacity, scale);                                                                                         \
    }
#define DEFINE_EACH(most)    \
    DEFINE(f32, float, most) \
    DEFINE(f16, u16, most)   \
    DEFINE(f8, u8, most)
DEFINE_EACH(64)
DEFINE_EACH(80)
DEFINE_EACH(128)
DEFINE_EACH(160)
DEFINE_EACH(224)
