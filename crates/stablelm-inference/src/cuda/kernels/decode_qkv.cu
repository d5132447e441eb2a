// Decoding, launch 1 of 5 of a layer: normalization, query, key and value of one position, rotary, and into the cache.
//
//     n = normalize(residual);  q, k, v = (query n, key n, value n) + biases
//     queries = rotate(q);  key_cache[h, position] = rotate(k);  value_cache[h, position] = v
//
// residual, norm_weight, norm_bias (or null): [hidden] f32; query: [num_heads * head_dim, hidden]; key, value:
// [num_key_value_heads * head_dim, hidden]; biases f32, or null; cos, sin: [capacity, pairs]; queries: [num_heads *
// head_dim] f32; caches: [num_key_value_heads, capacity, head_dim], in the format `cache_format`.
// With `raw_keys` (or null) neither queries nor keys are rotated, and keys go to `raw_keys`: `decode_head_norm` goes on
// from there.
//
// Heads are counted through: queries' first, then keys', then values'; a launch makes those from `first_head` to
// `last_head`, so that matrices in different formats can take a launch each. A warp makes two rows of one head at a time:
// the two that rotate with each other, so that nothing has to be exchanged.
#include "cached.cuh"
#include "weights.cuh"
#include "rows.cuh"

struct Projections {
    const float* residual;
    const float* norm_weight;
    const float* norm_bias;
    const float* query_bias;
    const float* key_bias;
    const float* value_bias;
    const float* cos;
    const float* sin;
    const int* state;
    float* queries;
    float* raw_keys;
    void* key_cache;
    void* value_cache;
};

// Two rows of one head, of queries, of keys or of values.
struct Pair {
    bool is_query, is_key, rotates;
    // The head among those of its kind, and the two rows in it.
    int head, low, high;
};

__device__ __forceinline__ Pair pair_of(int work, int num_heads, int num_key_value_heads, int head_dim, int pairs) {
    int half = head_dim / 2, head = work / half, pair = work % half;
    Pair at;
    // The rows (i, i + pairs) of a head rotate with each other; the rest go by two as they come.
    at.rotates = pair < pairs;
    at.low = at.rotates ? pair : 2 * pairs + 2 * (pair - pairs);
    at.high = at.rotates ? pair + pairs : at.low + 1;
    at.is_query = head < num_heads;
    at.is_key = !at.is_query && head < num_heads + num_key_value_heads;
    at.head = at.is_query ? head : at.is_key ? head - num_heads : head - num_heads - num_key_value_heads;
    return at;
}

template <class F>
__device__ void decode_qkv(
    const Weight& query, const Weight& key, const Weight& value, const Projections& p, int hidden, int num_heads,
    int num_key_value_heads, int head_dim, int pairs, int capacity, int cache_format, int first_head, int last_head,
    float epsilon) {
    extern __shared__ __align__(16) float normed[];
    __shared__ float room[WARP];
    int warps = gridDim.x * blockDim.x / WARP;
    int warp = (blockIdx.x * blockDim.x + threadIdx.x) / WARP;
    int half = head_dim / 2, first = first_head * half + warp, end = last_head * half;
    if (first < end) {
        Pair asked = pair_of(first, num_heads, num_key_value_heads, head_dim, pairs);
        const Weight& weight = asked.is_query ? query : asked.is_key ? key : value;
        int row = asked.head * head_dim;
        prefetch_rows<F>(weight, row + asked.low, weight, row + asked.high, hidden);
    }
    wait_for_others();
    normalize_row(p.residual, p.norm_weight, p.norm_bias, hidden, epsilon, normed, room);
    int position = p.state[1];
    for (int work = first; work < end; work += warps) {
        Pair at = pair_of(work, num_heads, num_key_value_heads, head_dim, pairs);
        bool is_query = at.is_query, is_key = at.is_key;
        int low = at.low, high = at.high, pair = work % half;
        const Weight& weight = is_query ? query : is_key ? key : value;
        const float* bias = is_query ? p.query_bias : is_key ? p.key_bias : p.value_bias;
        int row = at.head * head_dim;
        float2 sums = two_rows<F>(weight, row + low, weight, row + high, hidden, normed);
        if (threadIdx.x % WARP != 0) continue;
        if (bias) {
            sums.x += bias[row + low];
            sums.y += bias[row + high];
        }
        if (at.rotates && (is_query || is_key) && !p.raw_keys) {
            float c = p.cos[position * pairs + pair], s = p.sin[position * pairs + pair];
            sums = make_float2(sums.x * c - sums.y * s, sums.y * c + sums.x * s);
        }
        if (is_query || (is_key && p.raw_keys)) {
            float* output = is_query ? p.queries : p.raw_keys;
            output[row + low] = sums.x;
            output[row + high] = sums.y;
        } else {
            void* cache = is_key ? p.key_cache : p.value_cache;
            size_t to = ((size_t)at.head * capacity + position) * head_dim;
            store_as(cache_format, cache, to + low, sums.x);
            store_as(cache_format, cache, to + high, sums.y);
        }
    }
}

#define DEFINE(name, Format)                                                                                          \
    extern "C" __global__ void __launch_bounds__(256, 2) decode_qkv_##name(                                          \
        Weight query, Weight key, Weight value, Projections pointers, int hidden, int num_heads,                     \
        int num_key_value_heads, int head_dim, int pairs, int capacity, int cache_format, int first_head,            \
        int last_head, float epsilon) {                                                                              \
        decode_qkv<Format>(                                                                                          \
            query, key, value, pointers, hidden, num_heads, num_key_value_heads, head_dim, pairs, capacity,          \
            cache_format, first_head, last_head, epsilon);                                                           \
    }
FOR_EVERY_FORMAT(DEFINE)
