// One new position of each of several sequences: its key and value join the sequence's cache, and its query attends over
// all that is there.
//
//     output[s, h] = sum over t <= len_s of softmax_t(scale * queries[s, h] . key_s[t, k]) * value_s[t, k]
//     with k = h / (num_heads / num_key_value_heads)
//
// queries, output: [sequences, num_heads * head_dim] f32; keys, values: [sequences, num_key_value_heads * head_dim] f32;
// the caches of a sequence: [num_key_value_heads, capacity, head_dim], in f32, halves or FP8 E4M3, with `len` positions
// before the new one; head_dim a multiple of 8, at most 256.
//
// The grid is [num_key_value_heads, sequences]: with several sequences there are blocks enough, and the positions of none
// are split.
#include "attend_run.cuh"

template <class T>
__device__ void attend_each(
    float* output, const float* queries, const float* keys, const float* values, const Sequence* sequences,
    int num_heads, int num_key_value_heads, int head_dim, float scale) {
    __shared__ __align__(16) Run run;
    int cached = blockIdx.x, row = blockIdx.y, group = num_heads / num_key_value_heads;
    Sequence sequence = sequences[row];
    T* key_cache = (T*)sequence.keys + (size_t)cached * sequence.capacity * head_dim;
    T* value_cache = (T*)sequence.values + (size_t)cached * sequence.capacity * head_dim;
    size_t from = ((size_t)row * num_key_value_heads + cached) * head_dim, to = (size_t)sequence.len * head_dim;
    for (int dim = threadIdx.x; dim < head_dim; dim += TILE) {
        store(key_cache + to + dim, keys[from + dim]);
        store(value_cache + to + dim, values[from + dim]);
    }
    // The barrier at the beginning of a run is also the one that the rest of the block sees the new position after.
    for (int member = 0; member < group; member++) {
        size_t at = ((size_t)row * num_heads + cached * group + member) * head_dim;
        Found found = attend_run(run, queries + at, key_cache, value_cache, 0, sequence.len + 1, head_dim, scale);
        for (int dim = threadIdx.x; dim < head_dim; dim += TILE) {
            output[at + dim] = sum_of_slices(run, dim, head_dim) / found.total;
        }
    }
}

#define DEFINE(name, Number)                                                                                           \
    extern "C" __global__ void __launch_bounds__(TILE, 4) attend_each_##name(                                        \
        float* output, const float* queries, const float* keys, const float* values, const Sequence* sequences,       \
        int num_heads, int num_key_value_heads, int head_dim, float scale) {                                          \
        attend_each<Number>(                                                                                           \
            output, queries, keys, values, sequences, num_heads, num_key_value_heads, head_dim, scale);               \
    }
DEFINE(f32, float)
DEFINE(f16, u16)
DEFINE(f8, u8)
