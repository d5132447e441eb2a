// Decoding, for StableLM 2 12B only: queries and keys are normalized head by head before they rotate.
//
//     queries[h] = rotate(normalize(queries[h]));  key_cache[h, position] = rotate(normalize(raw_keys[h]))
//
// queries: [num_heads * head_dim] f32, in place; raw_keys: [num_key_value_heads * head_dim] f32; query_norm, key_norm: as
// long, without bias; cos, sin: [capacity, pairs]; key_cache: [num_key_value_heads, capacity, head_dim], in the
// format `cache_format`. One block a head, queries' heads first.
#include "cached.cuh"

// The most dimensions of a head.
#define MOST 256

extern "C" __global__ void decode_head_norm(
    float* queries, const float* raw_keys, void* key_cache, const float* query_norm, const float* key_norm,
    const float* cos, const float* sin, const int* state, int num_heads, int head_dim, int pairs, int capacity,
    int cache_format, float epsilon) {
    __shared__ float normed[MOST];
    __shared__ float room[WARP];
    wait_for_others();
    bool is_query = blockIdx.x < num_heads;
    int head = is_query ? blockIdx.x : blockIdx.x - num_heads;
    const float* x = (is_query ? queries : raw_keys) + head * head_dim;
    const float* weight = (is_query ? query_norm : key_norm) + head * head_dim;
    float sum = 0.0f;
    for (int dim = threadIdx.x; dim < head_dim; dim += blockDim.x) sum += x[dim];
    float mean = block_sum(sum, room) / head_dim;
    float squares = 0.0f;
    for (int dim = threadIdx.x; dim < head_dim; dim += blockDim.x) squares += (x[dim] - mean) * (x[dim] - mean);
    float scale = rsqrtf(block_sum(squares, room) / head_dim + epsilon);
    for (int dim = threadIdx.x; dim < head_dim; dim += blockDim.x) normed[dim] = (x[dim] - mean) * scale * weight[dim];
    __syncthreads();
    int position = state[1];
    for (int dim = threadIdx.x; dim < head_dim; dim += blockDim.x) {
        float value = normed[dim];
        if (dim < 2 * pairs) {
            int pair = dim % pairs;
            float c = cos[position * pairs + pair], s = sin[position * pairs + pair];
            value = dim < pairs ? value * c - normed[dim + pairs] * s : value * c + normed[pair] * s;
        }
        if (is_query) {
            queries[head * head_dim + dim] = value;
        } else {
            size_t to = ((size_t)head * capacity + position) * head_dim + dim;
            store_as(cache_format, key_cache, to, value);
        }
    }
}
