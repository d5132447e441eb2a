// As much of CUDA as our kernels use, on the processor: threads are contexts that take turns, block after block.
//
// Shows whether the arithmetic and the indexes of a kernel are right, and whether all threads meet at the same barriers.
// Shows nothing of races between blocks, which run one after the other here, nor of speed.

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#include <algorithm>
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
inline float widen_brain(uint16_t bits) { return same_bits<float>((uint32_t)bits << 16); }

// What a thread waits for.
enum Wait { NOTHING, WARP_MEETS, BLOCK_MEETS, KERNELS_BEFORE, END };

// Where a thread, or the scheduler, goes on: a stack of its own, and what lies on it.
#if defined(__x86_64__)
// The registers that a function has to leave as they were are on the stack; a switch takes a few nanoseconds, where
// `swapcontext` asks the system for the mask of signals each time.
struct Place { void* stack; };
extern "C" __attribute__((naked, noinline, visibility("hidden"))) inline void switch_to(Place*, const Place*) {
    asm("pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
        "movq %rsp, (%rdi)\n movq (%rsi), %rsp\n"
        "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret");
}
inline void begin_at(Place& place, char* stack, size_t bytes, void (*main)()) {
    // As after a call: the return address, which is never used, is 8 bytes above a multiple of 16.
    void** top = (void**)((uintptr_t)(stack + bytes) / 16 * 16);
    *--top = nullptr;
    *--top = (void*)main;
    place.stack = top - 6;
}
#else
struct Place { ucontext_t context; };
inline void switch_to(Place* from, const Place* to) { swapcontext(&from->context, &to->context); }
inline void begin_at(Place& place, char* stack, size_t bytes, void (*main)()) {
    getcontext(&place.context);
    place.context.uc_stack.ss_sp = stack;
    place.context.uc_stack.ss_size = bytes;
    place.context.uc_link = nullptr;
    makecontext(&place.context, main, 0);
}
#endif

struct Thread {
    Place place;
    Index index;
    Wait waits;
    // What lanes show each other; those that are ahead already write the other one.
    int turn;
    float lane_value[2];
    uint32_t left[2][4], right[2][2];
};

static const int MOST_THREADS = 256, LANES = 32;
// A little off a round number: else the ends of all stacks would want the same places of the processor's caches.
static const size_t STACK = (64 << 10) + 320;
static std::vector<Thread> threads(MOST_THREADS);
static std::vector<char> stacks(MOST_THREADS * STACK);
static Place scheduler;
static Thread* current;
static Index block_index, grid_size, block_size;
// Whether the last thread begins: what holds in both orders does not rest on a barrier that is missing.
static bool backwards = false;
static std::function<void()> body;
// Of the kernel that runs, for messages.
static const char* kernel_name = "a kernel";
// Shared memory that is asked for with the launch. Its end is where `shared_room` ends.
static const size_t MOST_SHARED = 48 << 10;
alignas(16) static char shared_room_here[MOST_SHARED];
static char* shared_room = shared_room_here;
static float* dynamic_shared;

#define threadIdx (current->index)
#define blockIdx block_index
#define gridDim grid_size
#define blockDim block_size

// Lets another thread of the warp go on that can, or the scheduler.
inline void wait_for(Wait wait) {
    Thread* self = current;
    self->waits = wait;
    unsigned first = self->index.x / LANES * LANES, lanes = std::min<unsigned>(LANES, block_size.x - first);
    const Place* to = &scheduler;
    for (unsigned step = 1, at = self->index.x - first; step < lanes; step++) {
        at = backwards ? (at ? at : lanes) - 1 : at + 1 < lanes ? at + 1 : 0;
        if (threads[first + at].waits != NOTHING) continue;
        current = &threads[first + at];
        to = &current->place;
        break;
    }
    switch_to(&self->place, to);
}

// How many lanes of each warp wait for the others.
static unsigned num_meeting[MOST_THREADS / LANES];

// Waits for all lanes of the warp, each of which has to take part: the last one to come goes on, and lets the others.
inline void meet_warp() {
    unsigned warp = current->index.x / LANES;
    if (++num_meeting[warp] < LANES) {
        wait_for(WARP_MEETS);
        return;
    }
    num_meeting[warp] = 0;
    for (unsigned lane = 0; lane < LANES; lane++) threads[warp * LANES + lane].waits = NOTHING;
}

// `griddepcontrol.wait`. A launch may begin before the kernels that it follows have ended; then this is called when all
// threads of a block have come to where those must have ended.
static std::function<void()> kernels_before;
inline void wait_for_kernels_before() {
    if (kernels_before) wait_for(KERNELS_BEFORE);
}
// A prefetch has no effects; as a read it has to be of memory that is there.
static volatile char prefetched;
inline void prefetch_line(const void* address) { prefetched = *(const char*)address; }
inline void __syncthreads() { wait_for(BLOCK_MEETS); }
inline float __shfl_xor_sync(uint32_t, float value, int distance) {
    Thread* self = current;
    int turn = self->turn ^= 1;
    self->lane_value[turn] = value;
    meet_warp();
    return threads[self->index.x ^ distance].lane_value[turn];
}

// `mma.m16n8k16` of numbers in 16 bits: each lane shows its parts of both factors, and sums its part of the result from those
// of all.
inline void warp_multiply(float (*widen)(uint16_t), float* sums, const uint32_t* left, const uint32_t* right) {
    Thread* self = current;
    int turn = self->turn ^= 1;
    memcpy(self->left[turn], left, sizeof self->left[turn]);
    memcpy(self->right[turn], right, sizeof self->right[turn]);
    meet_warp();
    unsigned first = self->index.x / LANES * LANES, lane = self->index.x % LANES;
    auto half = [=](const uint32_t* words, int word, int part) { return widen(words[word] >> (16 * part) & 0xffff); };
    for (int at = 0; at < 4; at++) {
        int row = lane / 4 + at / 2 * 8, column = lane % 4 * 2 + at % 2;
        float sum = 0;
        for (int k = 0; k < 16; k++) {
            // Which lane has the number, in which of its words.
            const Thread& has_left = threads[first + row % 8 * 4 + k % 8 / 2];
            const Thread& has_right = threads[first + column * 4 + k % 8 / 2];
            sum += half(has_left.left[turn], row / 8 + k / 8 * 2, k % 2) * half(has_right.right[turn], k / 8, k % 2);
        }
        sums[at] += sum;
    }
}

inline void thread_main() {
    body();
    wait_for(END);
}

// Lets the threads of a block go on when all that have not ended have met.
inline bool release_block(unsigned count) {
    bool any = false;
    for (unsigned at = 0; at < count; at++) {
        if (threads[at].waits != BLOCK_MEETS && threads[at].waits != END) return false;
        any |= threads[at].waits == BLOCK_MEETS;
    }
    for (unsigned at = 0; at < count; at++) {
        if (threads[at].waits == BLOCK_MEETS) threads[at].waits = NOTHING;
    }
    return any;
}

// Lets those go on that wait for the kernels before, when no others can.
inline bool end_kernels_before(unsigned count) {
    bool any = false;
    for (unsigned at = 0; at < count; at++) {
        if (threads[at].waits != KERNELS_BEFORE) continue;
        threads[at].waits = NOTHING;
        any = true;
    }
    if (any) kernels_before();
    return any;
}

inline void run_block() {
    unsigned count = block_size.x;
    for (unsigned at = 0; at < count; at++) {
        Thread& thread = threads[at];
        thread.index = {at, 0, 0};
        thread.waits = NOTHING;
        thread.turn = 0;
        begin_at(thread.place, stacks.data() + at * STACK, STACK, thread_main);
    }
    memset(num_meeting, 0, sizeof num_meeting);
    do {
        unsigned warps = (count + LANES - 1) / LANES;
        for (unsigned turn = 0; turn < warps; turn++) {
            unsigned first = (backwards ? warps - 1 - turn : turn) * LANES, lanes = std::min<unsigned>(LANES, count - first);
            // Each lets the next one go on; back here, none of them can.
            current = &threads[backwards ? first + lanes - 1 : first];
            for (unsigned lane = 0; lane < lanes && current->waits != NOTHING; lane++) current = &threads[first + lane];
            if (current->waits == NOTHING) switch_to(&scheduler, &current->place);
        }
    } while (release_block(count) || end_kernels_before(count));
    for (unsigned at = 0; at < count; at++) {
        if (threads[at].waits != END) {
            fprintf(stderr, "%s: thread %u waits for others that have gone another way\n", kernel_name, at);
            exit(1);
        }
    }
}

// What is done around each block, if anything.
static std::function<void()> block_begins, block_ends;

// Runs a kernel: `thread` is what each of its threads does.
inline void run_grid(Index grid, unsigned count, size_t shared_bytes, const std::function<void()>& thread) {
    grid_size = grid;
    block_size = {count, 1, 1};
    body = thread;
    size_t shared = (shared_bytes + 15) / 16 * 16;
    dynamic_shared = (float*)(shared_room + MOST_SHARED - shared);
    // What a block leaves in shared memory is of no use to the next; the last first, so that none relies on the order.
    for (unsigned y = grid.y; y-- > 0;) {
        for (unsigned x = grid.x; x-- > 0;) {
            block_index = {x, y, 0};
            memset(dynamic_shared, 0xff, shared);
            if (block_begins) block_begins();
            run_block();
            if (block_ends) block_ends();
        }
    }
}

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), Index grid, unsigned count, Arguments... arguments) {
    run_grid(grid, count, MOST_SHARED, [&] { kernel(arguments...); });
}
