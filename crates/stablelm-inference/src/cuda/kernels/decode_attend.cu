// Decoding, launch 2 of 5 of a layer: attention of one position over the cache, its own key and value included.
//
//     output[h] = sum over t <= position of softmax_t(scale * queries[h] . key[t, k]) * value[t, k]
//     with k = h / (num_heads / num_key_value_heads)
//
// queries, output: [num_heads * head_dim] f32; caches: [num_key_value_heads, capacity, head_dim], in f32, halves
// or FP8 E4M3; head_dim a multiple of 8, at most 256. partial: [num_heads, splits, head_dim + 2] f32; finished:
// [num_heads], all 0 before and after.
//
// The grid is [num_heads, splits], the same for every step: how many of the splits have positions follows from the
// position, which is in device memory. Each leaves its sums, its largest score and its sum of shares; the last block of a
// head to finish puts them together (a counter says which one that is).
#include "attend_run.cuh"

template <class T>
__device__ void decode_attend(
    float* output, const float* queries, const T* key_cache, const T* value_cache, float* partial, u32* finished,
    const int* state, int num_heads, int num_key_value_heads, int head_dim, int capacity, float scale) {
    __shared__ __align__(16) Run run;
    __shared__ bool is_last;
    wait_for_others();
    int head = blockIdx.x, len = state[1] + 1;
    int chunk = (len + gridDim.y - 1) / gridDim.y;
    chunk = (chunk + TILE - 1) / TILE * TILE;
    int splits = (len + chunk - 1) / chunk;
    int start = blockIdx.y * chunk, end = min(start + chunk, len);
    if (start >= len) return;
    int cached = head / (num_heads / num_key_value_heads);
    const T* keys = key_cache + (size_t)cached * capacity * head_dim;
    const T* values = value_cache + (size_t)cached * capacity * head_dim;
    Found found = attend_run(run, queries + head * head_dim, keys, values, start, end, head_dim, scale);
    output += head * head_dim;
    partial += (size_t)head * gridDim.y * (head_dim + 2);
    float* part = partial + blockIdx.y * (head_dim + 2);
    for (int dim = threadIdx.x; dim < head_dim; dim += TILE) {
        float sum = sum_of_slices(run, dim, head_dim);
        if (splits == 1) output[dim] = sum / found.total;
        else part[dim] = sum;
    }
    if (splits == 1) return;
    if (threadIdx.x == 0) {
        part[head_dim] = found.largest;
        part[head_dim + 1] = found.total;
    }
    // What this block wrote has to be seen by the last one, before the counter says that it is there.
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) is_last = atomicAdd(finished + head, 1) == splits - 1;
    __syncthreads();
    if (!is_last) return;
    __threadfence();
    for (int dim = threadIdx.x; dim < head_dim; dim += TILE) output[dim] = combined(partial, splits, dim, head_dim);
    if (threadIdx.x == 0) finished[head] = 0;
}

#define DEFINE(name, Number)                                                                                           \
    extern "C" __global__ void __launch_bounds__(TILE, 4) decode_attend_##name(                                       \
        float* output, const float* queries, const Number* key_cache, const Number* value_cache, float* partial,      \
        u32* finished, const int* state, int num_heads, int num_key_value_heads, int head_dim, int capacity,          \
        float scale) {                                                                                                \
        decode_attend<Number>(                                                                                        \
            output, queries, key_cache, value_cache, partial, finished, state, num_heads, num_key_value_heads,        \
            head_dim, capacity, scale);                                                                               \
    }
DEFINE(f32, float)
DEFINE(f16, u16)
DEFINE(f8, u8)
