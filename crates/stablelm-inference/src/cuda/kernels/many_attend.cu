// Decoding several sequences: heads are normalized (StableLM 2 12B only) and rotated, keys and values join the cache of
// their sequence, and each query attends over all that is there.
//
//     output[s, h] = sum over t <= len_s of softmax_t(scale * query[s, h] . key_s[t, k]) * value_s[t, k]
//     with k = h / (num_heads / num_key_value_heads)
//
// projected: [16, width] f32, a sequence's queries, then its keys, then its values, head after head; caches:
// [num_key_value_heads, capacity, head_dim], in f32, halves or FP8 E4M3; head_dim a multiple of 8, at most 256;
// query_norm, key_norm: a number for each of all heads, or null; cos, sin: [16, pairs]; output: [16, num_heads * head_dim]
// in the format `row_format` (many_rows.cuh). partial: [16, num_heads, splits, head_dim + 2] f32; finished: [16,
// num_key_value_heads], all 0 before and after.
//
// The grid is [num_key_value_heads, splits * sequences]. Positions are split as in decode_attend, those of each sequence
// for themselves; the split that has the new position puts it into the cache. A block attends from all query heads that
// read its keys, one after the other.
#include "attend_run.cuh"
#include "many_rows.cuh"

struct Turns {
    const float* cos;
    const float* sin;
    int pairs;
};

// What a block shares beside a run.
struct Heads {
    float raw[MOST];
    float prepared[MOST];
};

// Leaves a head in `heads.prepared`, normalized where there are factors, and rotated.
__device__ __forceinline__ void prepare_head(
    Heads& heads, const float* head, const float* factors, const Turns& turns, int head_dim, float epsilon, float* room) {
    float sum = 0.0f;
    for (int dim = threadIdx.x; dim < head_dim; dim += TILE) {
        float value = head[dim];
        heads.raw[dim] = value;
        sum += value;
    }
    if (factors) {
        float mean = block_sum(sum, room) / head_dim;
        float squares = 0.0f;
        for (int dim = threadIdx.x; dim < head_dim; dim += TILE) {
            float away = heads.raw[dim] - mean;
            squares += away * away;
        }
        float scale = rsqrtf(block_sum(squares, room) / head_dim + epsilon);
        for (int dim = threadIdx.x; dim < head_dim; dim += TILE) {
            heads.raw[dim] = (heads.raw[dim] - mean) * scale * factors[dim];
        }
    }
    __syncthreads();
    int pairs = turns.pairs;
    for (int dim = threadIdx.x; dim < head_dim; dim += TILE) {
        float value = heads.raw[dim];
        if (dim < 2 * pairs) {
            float c = turns.cos[dim % pairs], s = turns.sin[dim % pairs];
            value = dim < pairs ? value * c - heads.raw[dim + pairs] * s : value * c + heads.raw[dim - pairs] * s;
        }
        heads.prepared[dim] = value;
    }
    __syncthreads();
}

template <class T>
__device__ void many_attend(
    void* output, const float* projected, const Sequence* sequences, const float* query_norm, const float* key_norm,
    Turns turns, float* partial, u32* finished, int num_heads, int num_key_value_heads, int head_dim, int splits,
    int row_format, float scale, float epsilon) {
    __shared__ __align__(16) Run run;
    __shared__ Heads heads;
    __shared__ bool is_last;
    int cached = blockIdx.x, split = blockIdx.y % splits, row = blockIdx.y / splits;
    int group = num_heads / num_key_value_heads;
    wait_for_others();
    Sequence sequence = sequences[row];
    int len = sequence.len + 1;
    int chunk = (len + splits - 1) / splits;
    chunk = (chunk + TILE - 1) / TILE * TILE;
    int working = (len + chunk - 1) / chunk;
    int start = split * chunk, end = min(start + chunk, len);
    if (start >= len) return;
    turns.cos += row * turns.pairs;
    turns.sin += row * turns.pairs;
    projected += (size_t)row * (num_heads + 2 * num_key_value_heads) * head_dim;
    T* keys = (T*)sequence.keys + (size_t)cached * sequence.capacity * head_dim;
    T* values = (T*)sequence.values + (size_t)cached * sequence.capacity * head_dim;
    if (end == len) {
        const float* key = projected + (num_heads + cached) * head_dim;
        const float* value = key + num_key_value_heads * head_dim;
        const float* factors = key_norm ? key_norm + cached * head_dim : nullptr;
        prepare_head(heads, key, factors, turns, head_dim, epsilon, run.room);
        size_t to = (size_t)sequence.len * head_dim;
        for (int dim = threadIdx.x; dim < head_dim; dim += TILE) {
            store(keys + to + dim, heads.prepared[dim]);
            store(values + to + dim, value[dim]);
        }
        // The barriers below are also those that the rest of the block sees the new position after.
    }
    for (int member = 0; member < group; member++) {
        int head = cached * group + member;
        const float* factors = query_norm ? query_norm + head * head_dim : nullptr;
        prepare_head(heads, projected + head * head_dim, factors, turns, head_dim, epsilon, run.room);
        Found found = attend_run(run, heads.prepared, keys, values, start, end, head_dim, scale);
        size_t at = (size_t)row * num_heads + head;
        float* part = partial + (at * splits + split) * (head_dim + 2);
        for (int dim = threadIdx.x; dim < head_dim; dim += TILE) {
            float sum = sum_of_slices(run, dim, head_dim);
            if (working == 1) store_row(row_format, output, at * head_dim + dim, sum / found.total);
            else part[dim] = sum;
        }
        if (working > 1 && threadIdx.x == 0) {
            part[head_dim] = found.largest;
            part[head_dim + 1] = found.total;
        }
    }
    if (working == 1) return;
    // As in decode_attend: what is written has to be seen before the counter says so.
    finished += row * num_key_value_heads + cached;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) is_last = atomicAdd(finished, 1) == working - 1;
    __syncthreads();
    if (!is_last) return;
    __threadfence();
    for (int at = threadIdx.x; at < group * head_dim; at += TILE) {
        size_t head = (size_t)row * num_heads + cached * group + at / head_dim;
        const float* parts = partial + head * splits * (head_dim + 2);
        float value = combined(parts, working, at % head_dim, head_dim);
        store_row(row_format, output, head * head_dim + at % head_dim, value);
    }
    if (threadIdx.x == 0) *finished = 0;
}

#define DEFINE(name, Number)                                                                                           \
    extern "C" __global__ void __launch_bounds__(TILE, 4) many_attend_##name(                                         \
        void* output, const float* projected, const Sequence* sequences, const float* query_norm,                     \
        const float* key_norm, const float* cos, const float* sin, float* partial, u32* finished, int num_heads,      \
        int num_key_value_heads, int head_dim, int pairs, int splits, int row_format, float scale, float epsilon) {   \
        Turns turns = {cos, sin, pairs};                                                                              \
        many_attend<Number>(                                                                                          \
            output, projected, sequences, query_norm, key_norm, turns, partial, finished, num_heads,                  \
            num_key_value_heads, head_dim, splits, row_format, scale, epsilon);                                       \
    }
DEFINE(f32, float)
DEFINE(f16, u16)
DEFINE(f8, u8)
