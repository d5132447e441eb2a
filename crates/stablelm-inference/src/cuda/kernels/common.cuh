// What every kernel uses: number formats, loads that leave no trace in the cache, sums over warps and blocks.
//
// NVRTC brings no headers along, so the two 16-bit formats are converted here.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;

// Threads of a warp, all of them taking part.
#define WARP 32
#define EVERY_LANE 0xffffffffu

#define INFINITY __int_as_float(0x7f800000)

__device__ __forceinline__ float widen_bf16(u16 bits) { return __uint_as_float((u32)bits << 16); }

__device__ __forceinline__ float widen_f16(u16 bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

__device__ __forceinline__ u16 round_bf16(float value) {
    u16 bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

// Rounds to nearest; what a half has no room for becomes its largest number, as on the processor. NaN stays NaN.
__device__ __forceinline__ u16 round_f16(float value) {
    float largest = 65504.0f;
    if (fabsf(value) > largest) value = copysignf(largest, value);
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

// Reads 16 bytes that are read once: weights, which would only push activations out of the cache.
__device__ __forceinline__ uint4 load_once(const void* address) {
    uint4 bits;
    asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
        : "=r"(bits.x), "=r"(bits.y), "=r"(bits.z), "=r"(bits.w)
        : "l"(address));
    return bits;
}

// Kernels of a step of decoding may begin before those that they follow have ended (programmatic dependent launch), on
// devices of compute capability 9.0. PTX for older ones has the instructions for that in comments, and the launcher takes
// the mark away where the device knows them.
#if __CUDA_ARCH__ >= 900
#define OVERLAP
#else
#define OVERLAP "// overlap: "
#endif

// Waits until the kernels before have ended and what they wrote can be seen, then lets the next one begin. All threads have
// to come here before they read anything but weights, and before they write: the next kernel knows of this one alone.
__device__ __forceinline__ void wait_for_others() {
    asm volatile(OVERLAP "griddepcontrol.wait;" ::: "memory");
    asm volatile(OVERLAP "griddepcontrol.launch_dependents;" ::: "memory");
}

// Asks for memory that is read soon to come to the second level cache; it is never written.
__device__ __forceinline__ void prefetch(const void* address) {
    asm volatile(OVERLAP "prefetch.global.L2 [%0];" ::"l"(address));
}

__device__ __forceinline__ float warp_sum(float value) {
    for (int lane = WARP / 2; lane > 0; lane /= 2) value += __shfl_xor_sync(EVERY_LANE, value, lane);
    return value;
}

__device__ __forceinline__ float warp_max(float value) {
    for (int lane = WARP / 2; lane > 0; lane /= 2) value = fmaxf(value, __shfl_xor_sync(EVERY_LANE, value, lane));
    return value;
}

// Returns the sum over a block to all of its threads. `room` is shared memory for a number of each warp.
__device__ __forceinline__ float block_sum(float value, float* room) {
    value = warp_sum(value);
    if (threadIdx.x % WARP == 0) room[threadIdx.x / WARP] = value;
    __syncthreads();
    float total = 0.0f;
    for (int warp = 0; warp < blockDim.x / WARP; warp++) total += room[warp];
    // The room can be used again.
    __syncthreads();
    return total;
}

// Returns the largest value of a block to all of its threads.
__device__ __forceinline__ float block_max(float value, float* room) {
    value = warp_max(value);
    if (threadIdx.x % WARP == 0) room[threadIdx.x / WARP] = value;
    __syncthreads();
    float largest = room[0];
    for (int warp = 1; warp < blockDim.x / WARP; warp++) largest = fmaxf(largest, room[warp]);
    __syncthreads();
    return largest;
}

// The numbers of `Nonlinearity` in the launchers.
#define SILU 0
#define GELU 1
#define GELU_TANH 2

__device__ __forceinline__ float activate_one(float x, int nonlinearity) {
    if (nonlinearity == SILU) return x / (1.0f + expf(-x));
    if (nonlinearity == GELU) return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
    // (1 + tanh(u)) / 2 is the sigmoid of 2 u.
    float twice = 1.5957691216057308f * (x + 0.044715f * x * x * x);
    return x / (1.0f + expf(-twice));
}
