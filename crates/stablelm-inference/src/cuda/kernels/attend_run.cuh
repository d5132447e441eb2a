// Attention of one query over a run of positions, by a block of TILE threads: what decode_attend, attend_each and
// many_attend share.
//
// It goes over the positions in tiles, a thread a position for the scores, then eight dimensions of every n-th position
// for the sums. Heads are of a multiple of 8 dimensions, at most MOST.
#include "cached.cuh"

// Threads of a block, and positions of a tile.
#define TILE 128
#define MOST 256

// What a block shares.
struct Run {
    // The query, times the scale.
    float query[MOST];
    float shares[TILE];
    // For each slice of the positions, its sum of values, a run of dimensions each.
    float sums[TILE * 8];
    float room[WARP];
};

// Reads eight numbers of the cache.
__device__ __forceinline__ void load_eight(const float* from, float* to) {
    float4 low = *(const float4*)from, high = *(const float4*)(from + 4);
    to[0] = low.x, to[1] = low.y, to[2] = low.z, to[3] = low.w;
    to[4] = high.x, to[5] = high.y, to[6] = high.z, to[7] = high.w;
}

template <class T>
__device__ __forceinline__ void load_eight(const T* from, float* to) {
    uint4 bits = load_halves(from);
    to[0] = widen_f16(bits.x & 0xffff), to[1] = widen_f16(bits.x >> 16);
    to[2] = widen_f16(bits.y & 0xffff), to[3] = widen_f16(bits.y >> 16);
    to[4] = widen_f16(bits.z & 0xffff), to[5] = widen_f16(bits.z >> 16);
    to[6] = widen_f16(bits.w & 0xffff), to[7] = widen_f16(bits.w >> 16);
}

// The largest score of a run, and the sum of shares relative to it.
struct Found {
    float largest, total;
};

// Attends from one query to the positions from `start` to `end` of a head, and leaves the sums of each slice in `run`.
template <class T>
__device__ __forceinline__ Found attend_run(
    Run& run, const float* query, const T* keys, const T* values, int start, int end, int head_dim, float scale) {
    for (int dim = threadIdx.x; dim < head_dim; dim += TILE) run.query[dim] = query[dim] * scale;
    __syncthreads();
    // A group of eight dimensions, and the first position of a tile that this thread sums.
    int groups = head_dim / 8, group = threadIdx.x % groups, slice = threadIdx.x / groups, slices = TILE / groups;
    float eight[8] = {};
    Found found = {-INFINITY, 0.0f};
    for (int first = start; first < end; first += TILE) {
        int position = first + threadIdx.x;
        float score = -INFINITY;
        if (position < end) {
            const T* key = keys + (size_t)position * head_dim;
            score = 0.0f;
#pragma unroll 5
            for (int at = 0; at < groups; at++) {
                float part[8];
                load_eight(key + at * 8, part);
#pragma unroll
                for (int i = 0; i < 8; i++) score += part[i] * run.query[at * 8 + i];
            }
        }
        float highest = fmaxf(found.largest, block_max(score, run.room));
        float rescale = expf(found.largest - highest);
        float share = expf(score - highest);
        run.shares[threadIdx.x] = share;
        found.total = found.total * rescale + block_sum(share, run.room);
        found.largest = highest;
#pragma unroll
        for (int i = 0; i < 8; i++) eight[i] *= rescale;
        if (slice < slices) {
            int count = min(TILE, end - first);
#pragma unroll 4
            for (int at = slice; at < count; at += slices) {
                float part[8];
                load_eight(values + (size_t)(first + at) * head_dim + group * 8, part);
                float weight = run.shares[at];
#pragma unroll
                for (int i = 0; i < 8; i++) eight[i] += weight * part[i];
            }
        }
        __syncthreads();
    }
    if (slice < slices) {
#pragma unroll
        for (int i = 0; i < 8; i++) run.sums[slice * head_dim + group * 8 + i] = eight[i];
    }
    __syncthreads();
    return found;
}

// Returns the sum over all slices of one dimension.
__device__ __forceinline__ float sum_of_slices(const Run& run, int dim, int head_dim) {
    float sum = 0.0f;
    for (int at = 0; at < TILE / (head_dim / 8); at++) sum += run.sums[at * head_dim + dim];
    return sum;
}

// Returns what the splits of one head have left, put together, for one dimension. Each has left the sums of all dimensions,
// then its largest score and its sum of shares.
__device__ __forceinline__ float combined(const float* partial, int splits, int dim, int head_dim) {
    int pitch = head_dim + 2;
    float largest = -INFINITY, sum = 0.0f, total = 0.0f;
    for (int split = 0; split < splits; split++) largest = fmaxf(largest, __ldcg(partial + split * pitch + head_dim));
    for (int split = 0; split < splits; split++) {
        const float* part = partial + split * pitch;
        float share = expf(__ldcg(part + head_dim) - largest);
        sum += share * __ldcg(part + dim);
        total += share * __ldcg(part + head_dim + 1);
    }
    return sum / total;
}

// Where a sequence's keys and values of a layer are, and how many positions there are before the new one.
struct Sequence {
    void* keys;
    void* values;
    int len, capacity;
};
