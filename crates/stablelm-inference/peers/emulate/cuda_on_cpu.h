// As much of CUDA as our kernels use, on the processor: threads are contexts that take turns, block after block.
//
// Shows whether the arithmetic and the indexes of a kernel are right, and whether all threads meet at the same barriers.
// Shows nothing of races between blocks, which run one after the other here, nor of speed.

#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#define __device__
#define __global__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

struct float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) uint2 { uint32_t x, y; };
struct alignas(16) uint4 { uint32_t x, y, z, w; };
struct Index { unsigned x, y, z; };

inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }

template <class To, class From> To same_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
inline float __uint_as_float(uint32_t bits) { return same_bits<float>(bits); }
inline uint32_t __float_as_uint(float value) { return same_bits<uint32_t>(value); }
inline float __int_as_float(int bits) { return same_bits<float>(bits); }
inline float __fmul_rn(float left, float right) { return left * right; }
inline float __fsub_rn(float left, float right) { return left - right; }
inline float rsqrtf(float value) { return 1.0f / std::sqrt(value); }
inline float __ldcg(const float* from) { return *from; }
inline void __threadfence() {}
inline int min(int left, int right) { return left < right ? left : right; }
inline uint32_t atomicAdd(uint32_t* counter, uint32_t by) {
    uint32_t before = *counter;
    *counter += by;
    return before;
}
// Each half byte of the selector names one of eight bytes: the first word's four, then the second's.
inline uint32_t __byte_perm(uint32_t first, uint32_t second, uint32_t selector) {
    uint64_t bytes = (uint64_t)second << 32 | first;
    uint32_t picked = 0;
    for (int at = 0; at < 4; at++) {
        uint32_t which = selector >> (4 * at) & 7;
        picked |= (uint32_t)(bytes >> (8 * which) & 0xff) << (8 * at);
    }
    return picked;
}

// IEEE 754 halves, by the compiler's own type.
inline float widen_half(uint16_t bits) { return (float)same_bits<_Float16>(bits); }
inline uint16_t round_half(float value) { return same_bits<uint16_t>((_Float16)value); }
inline uint32_t multiply_two_halves(uint32_t left, uint32_t right) {
    uint16_t low = round_half(widen_half(left) * widen_half(right));
    return low | (uint32_t)round_half(widen_half(left >> 16) * widen_half(right >> 16)) << 16;
}
inline uint16_t round_brain(float value) {
    uint32_t bits = same_bits<uint32_t>(value);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// What a thread waits for.
enum Wait { NOTHING, WARP_MEETS, BLOCK_MEETS, END };

struct Thread {
    ucontext_t context;
    Index index;
    Wait waits;
    float lane_value;
    uint32_t left[4], right[2];
};

static const int MOST_THREADS = 256, LANES = 32;
static const size_t STACK = 64 << 10;
static std::vector<Thread> threads(MOST_THREADS);
static std::vector<char> stacks(MOST_THREADS * STACK);
static ucontext_t scheduler;
static Thread* current;
static Index block_index, grid_size, block_size;
// Whether the last thread begins: what holds in both orders does not rest on a barrier that is missing.
static bool backwards = false;
static std::function<void()> body;
// Shared memory that is asked for with the launch.
alignas(16) static float dynamic_shared[12 << 10];

#define threadIdx (current->index)
#define blockIdx block_index
#define gridDim grid_size
#define blockDim block_size

inline void wait_for(Wait wait) {
    current->waits = wait;
    swapcontext(&current->context, &scheduler);
}
inline void __syncthreads() { wait_for(BLOCK_MEETS); }
inline float __shfl_xor_sync(uint32_t, float value, int distance) {
    Thread* self = current;
    self->lane_value = value;
    wait_for(WARP_MEETS);
    float other = threads[self->index.x ^ distance].lane_value;
    wait_for(WARP_MEETS);
    return other;
}

// `mma.m16n8k16` of halves: each lane shows its parts of both factors, and sums its part of the result from those of all.
inline void warp_multiply(float* sums, const uint32_t* left, const uint32_t* right) {
    Thread* self = current;
    memcpy(self->left, left, sizeof self->left);
    memcpy(self->right, right, sizeof self->right);
    wait_for(WARP_MEETS);
    unsigned first = self->index.x / LANES * LANES, lane = self->index.x % LANES;
    auto half = [](const uint32_t* words, int word, int part) { return widen_half(words[word] >> (16 * part) & 0xffff); };
    for (int at = 0; at < 4; at++) {
        int row = lane / 4 + at / 2 * 8, column = lane % 4 * 2 + at % 2;
        float sum = 0;
        for (int k = 0; k < 16; k++) {
            // Which lane has the number, in which of its words.
            const Thread& has_left = threads[first + row % 8 * 4 + k % 8 / 2];
            const Thread& has_right = threads[first + column * 4 + k % 8 / 2];
            sum += half(has_left.left, row / 8 + k / 8 * 2, k % 2) * half(has_right.right, k / 8, k % 2);
        }
        sums[at] += sum;
    }
    wait_for(WARP_MEETS);
}

inline void thread_main() {
    body();
    current->waits = END;
    swapcontext(&current->context, &scheduler);
}

// Lets those go on that have all met: the threads from `first` on that have not ended.
inline bool release(unsigned first, unsigned count, Wait wait) {
    bool any = false;
    for (unsigned at = first; at < first + count; at++) {
        if (threads[at].waits != wait && threads[at].waits != END) return false;
        any |= threads[at].waits == wait;
    }
    for (unsigned at = first; at < first + count; at++) {
        if (threads[at].waits == wait) threads[at].waits = NOTHING;
    }
    return any;
}

inline void run_block() {
    unsigned count = block_size.x;
    for (unsigned at = 0; at < count; at++) {
        Thread& thread = threads[at];
        thread.index = {at, 0, 0};
        thread.waits = NOTHING;
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = stacks.data() + at * STACK;
        thread.context.uc_stack.ss_size = STACK;
        thread.context.uc_link = nullptr;
        makecontext(&thread.context, thread_main, 0);
    }
    for (bool goes_on = true; goes_on;) {
        goes_on = false;
        for (unsigned turn = 0; turn < count; turn++) {
            unsigned at = backwards ? count - 1 - turn : turn;
            if (threads[at].waits != NOTHING) continue;
            current = &threads[at];
            swapcontext(&scheduler, &current->context);
            goes_on = true;
        }
        for (unsigned warp = 0; warp < count; warp += LANES) goes_on |= release(warp, LANES, WARP_MEETS);
        goes_on |= release(0, count, BLOCK_MEETS);
    }
    for (unsigned at = 0; at < count; at++) {
        if (threads[at].waits != END) {
            fprintf(stderr, "thread %u waits for others that have gone another way\n", at);
            exit(1);
        }
    }
}

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), Index grid, unsigned count, Arguments... arguments) {
    grid_size = grid;
    block_size = {count, 1, 1};
    body = [&] { kernel(arguments...); };
    // What a block leaves in shared memory is of no use to the next; the last first, so that none relies on the order.
    for (unsigned y = grid.y; y-- > 0;) {
        for (unsigned x = grid.x; x-- > 0;) {
            block_index = {x, y, 0};
            for (float& value : dynamic_shared) value = NAN;
            run_block();
        }
    }
}
