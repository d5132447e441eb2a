// Decoding, after the head: the likeliest token, which is the next step's.
//
//     chosen[s] = argmax of logits[s, ..choosable], state = {chosen[0], position + 1}
//
// Of equals, the first. logits: [sequences, count] f32; where one of a sequence is not finite, `chosen` is -1 and the next
// token is 0, which nobody is going to use. state: the token and its position of the only sequence, or null. partial:
// [sequences, gridDim.x, 3] f32; finished: [sequences], 0 before and after; count below 2^24, where every index is a
// float. The grid is [blocks, sequences].
#include "common.cuh"

// Returns the smallest of a block's indexes.
__device__ __forceinline__ float block_min(float index, float* room) { return -block_max(-index, room); }

extern "C" __global__ void __launch_bounds__(256) decode_choose(
    int* chosen, int* state, const float* logits, float* partial, u32* finished, int count, int choosable) {
    __shared__ float room[WARP];
    __shared__ bool is_last;
    wait_for_others();
    logits += (size_t)blockIdx.y * count;
    partial += 3 * gridDim.x * blockIdx.y;
    finished += blockIdx.y;
    const float none = 16777216.0f;
    float largest = -INFINITY, index = none, broken = 0.0f;
    for (int at = blockIdx.x * blockDim.x + threadIdx.x; at < count; at += gridDim.x * blockDim.x) {
        float logit = logits[at];
        // False for NaN as well.
        if (!(fabsf(logit) < INFINITY)) broken = 1.0f;
        if (at < choosable && logit > largest) largest = logit, index = at;
    }
    float highest = block_max(largest, room);
    index = block_min(largest == highest ? index : none, room);
    broken = block_max(broken, room);
    if (threadIdx.x == 0) {
        float* part = partial + 3 * blockIdx.x;
        part[0] = highest, part[1] = index, part[2] = broken;
    }
    // As in decode_attend: what is written has to be seen before the counter says so.
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) is_last = atomicAdd(finished, 1) == gridDim.x - 1;
    __syncthreads();
    if (!is_last) return;
    __threadfence();
    // There are at most as many blocks as threads in one.
    bool has_part = threadIdx.x < gridDim.x;
    const float* part = partial + 3 * threadIdx.x;
    largest = has_part ? __ldcg(part) : -INFINITY;
    highest = block_max(largest, room);
    index = block_min(has_part && largest == highest ? __ldcg(part + 1) : none, room);
    broken = block_max(has_part ? __ldcg(part + 2) : 0.0f, room);
    if (threadIdx.x != 0) return;
    bool is_whole = broken == 0.0f;
    chosen[blockIdx.y] = is_whole ? (int)index : -1;
    *finished = 0;
    if (!state) return;
    state[0] = is_whole ? (int)index : 0;
    state[1]++;
}
