// New keys and values join the cache.
//
//     cache[h, start + p, d] = heads[p, h, d]
//
// keys, values: [positions, num_key_value_heads * head_dim] f32; caches: [num_key_value_heads, capacity, head_dim], in f32
// or rounded to halves or to FP8 E4M3. One thread a number.
#include "cached.cuh"

template <class T>
__device__ void append(
    T* key_cache, T* value_cache, const float* keys, const float* values, int start, int positions,
    int num_key_value_heads, int head_dim, int capacity) {
    size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    int width = num_key_value_heads * head_dim;
    if (at >= (size_t)positions * width) return;
    int position = at / width, head = at % width / head_dim, dim = at % head_dim;
    size_t to = ((size_t)head * capacity + start + position) * head_dim + dim;
    store(key_cache + to, keys[at]);
    store(value_cache + to, values[at]);
}

#define DEFINE(name, Number)                                                                                           \
    extern "C" __global__ void append_##name(                                                                       \
        Number* key_cache, Number* value_cache, const float* keys, const float* values, int start, int positions,    \
        int num_key_value_heads, int head_dim, int capacity) {                                                       \
        append<Number>(                                                                                               \
            key_cache, value_cache, keys, values, start, positions, num_key_value_heads, head_dim, capacity);        \
    }
DEFINE(f32, float)
DEFINE(f16, u16)
DEFINE(f8, u8)
