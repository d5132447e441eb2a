// New keys and values join the cache.
//
//     cache[h, start + p, d] = heads[p, h, d]
//
// keys, values: [positions, num_key_value_heads * head_dim] f32; caches: [num_key_value_heads, capacity, head_dim], in f32
// or rounded to halves. One thread a number.
#include "common.cuh"

struct Single {
    typedef float Number;
    static __device__ __forceinline__ float round(float value) { return value; }
};
struct Half {
    typedef u16 Number;
    static __device__ __forceinline__ u16 round(float value) { return round_f16(value); }
};

template <class T>
__device__ void append(
    typename T::Number* key_cache, typename T::Number* value_cache, const float* keys, const float* values, int start,
    int positions, int num_key_value_heads, int head_dim, int capacity) {
    size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    int width = num_key_value_heads * head_dim;
    if (at >= (size_t)positions * width) return;
    int position = at / width, head = at % width / head_dim, dim = at % head_dim;
    size_t to = ((size_t)head * capacity + start + position) * head_dim + dim;
    key_cache[to] = T::round(keys[at]);
    value_cache[to] = T::round(values[at]);
}

#define DEFINE(name, Format)                                                                                           \
    extern "C" __global__ void append_##name(                                                                       \
        Format::Number* key_cache, Format::Number* value_cache, const float* keys, const float* values, int start,   \
        int positions, int num_key_value_heads, int head_dim, int capacity) {                                        \
        append<Format>(                                                                                               \
            key_cache, value_cache, keys, values, start, positions, num_key_value_heads, head_dim, capacity);        \
    }
DEFINE(f32, Single)
DEFINE(f16, Half)
