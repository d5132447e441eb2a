// The number formats of cached keys and values: f32, halves, and bytes of FP8 E4M3.
//
// FP8 E4M3 (Micikevicius and others, "FP8 Formats for Deep Learning", 2022) has a sign, 4 bits of exponent with a bias of 7
// and 3 bits of mantissa; there are no infinities, the largest number is 448, and all ones after the sign is NaN. The
// instructions for it come with compute capability 8.9: here, bytes become halves, which hold all of its numbers.
#include "common.cuh"

// The numbers of `KvDtype` in the launchers.
#define CACHED_F32 0
#define CACHED_F16 1

// Returns two numbers, in the upper bytes of the two halves of `bits`, as halves. Exact; NaN stays NaN.
__device__ __forceinline__ u32 widen_two_f8(u32 bits) {
    u32 magnitudes = (bits & 0x7f007f00) >> 1;
    // With a bias of 15 in place of 7 these are the numbers divided by 256, subnormal ones too. The carry of NaN alone, and
    // no other number, gets as far as the top of the exponent.
    u32 divided = (bits & 0x80008000) | magnitudes | ((magnitudes + 0x00800080) & 0x40004000);
    u32 halves;
    asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(halves) : "r"(divided), "r"(0x5c005c00));
    return halves;
}

// Rounds to nearest, ties to even; what is larger than the largest number becomes that, as on the processor. NaN stays NaN.
__device__ __forceinline__ u8 round_f8(float value) {
    u32 sign = __float_as_uint(value) >> 24 & 0x80, magnitude = __float_as_uint(value) & 0x7fffffff;
    if (magnitude > 0x7f800000) return sign | 0x7f;
    // From 2^-6 on the last place depends on the number; below it is that of 2^14 in f32, and adding that rounds there.
    if (magnitude < 0x3c800000) return sign | (__float_as_uint(__uint_as_float(magnitude) + 16384.0f) - 0x46800000);
    u32 largest = 0x43e00000;
    if (magnitude > largest) magnitude = largest;
    return sign | (magnitude - 0x3c000000 + 0x7ffff + (magnitude >> 20 & 1)) >> 20;
}

__device__ __forceinline__ float widen(float value) { return value; }
__device__ __forceinline__ float widen(u16 bits) { return widen_f16(bits); }
__device__ __forceinline__ float widen(u8 bits) { return widen_f16(widen_two_f8((u32)bits << 8)); }

__device__ __forceinline__ void store(float* to, float value) { *to = value; }
__device__ __forceinline__ void store(u16* to, float value) { *to = round_f16(value); }
__device__ __forceinline__ void store(u8* to, float value) { *to = round_f8(value); }

// Stores a number in the format of that number.
__device__ __forceinline__ void store_as(int format, void* cache, size_t at, float value) {
    if (format == CACHED_F32) store((float*)cache + at, value);
    else if (format == CACHED_F16) store((u16*)cache + at, value);
    else store((u8*)cache + at, value);
}

// Reads eight numbers as halves; they lie where a multiple of eight begins.
__device__ __forceinline__ uint4 load_halves(const u16* from) { return *(const uint4*)from; }
__device__ __forceinline__ uint4 load_halves(const u8* from) {
    uint2 bits = *(const uint2*)from;
    // Each selector names the bytes of a word, the lowest first; the fifth is 0.
    return make_uint4(
        widen_two_f8(__byte_perm(bits.x, 0, 0x1404)), widen_two_f8(__byte_perm(bits.x, 0, 0x3424)),
        widen_two_f8(__byte_perm(bits.y, 0, 0x1404)), widen_two_f8(__byte_perm(bits.y, 0, 0x3424)));
}
