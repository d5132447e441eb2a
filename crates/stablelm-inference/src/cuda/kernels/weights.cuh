// Matrices as they lie in device memory, [rows, columns], and what a vector of 16 bytes of one holds.
//
// Plain formats are rows of numbers. Block formats are the numbers of ggml's blocks, taken apart so that 16 bytes of
// weights are always aligned (`cuda/matrix.rs` does it); a weight is
//
//     factor * sub_scale * (quant - OFFSET) - minimum_factor * sub_minimum
//
// - quants: whole numbers from 0 up; a byte each, or 4 bits each, then byte `j` of a run of 32 columns holds column `j`
//   in its low half and column `j + 16` in its high half;
// - factors: half-precision, one for every 32 columns (q8_0, q4_0) or 256 (q6_k), or two for every 256, the second for
//   minima (q4_k, q5_k);
// - subs: for every 32 columns a scale and a minimum, 6 bits in a byte each (q4_k, q5_k); for every 16 a signed scale
//   (q6_k); nothing elsewhere.
//
// Each format has
// - VALUES, the number of weights in 16 bytes;
// - Vector, that many weights of one row as they were loaded;
// - load(weight, columns, row, at), the vector number `at` of a row;
// - dot(vector, x), the sum of products with VALUES activations;
// - eight(weight, columns, row, column, output), weights `column..column + 8` as f32; `column` is a multiple of 8;
// - one(weight, columns, row, column), a single weight.

struct Weight {
    const u8* quants;
    const u16* factors;
    const u8* subs;
};

// A run of weights that shares scale and minimum.
struct Scaled {
    float scale;
    float minimum;
};

struct Vector {
    uint4 bits;
    Scaled scaled;
};

__device__ __forceinline__ float word_of(const uint4& bits, int word) {
    return __uint_as_float(word == 0 ? bits.x : word == 1 ? bits.y : word == 2 ? bits.z : bits.w);
}

__device__ __forceinline__ u32 bits_of(const uint4& bits, int word) {
    return word == 0 ? bits.x : word == 1 ? bits.y : word == 2 ? bits.z : bits.w;
}

// Returns a byte of a word as a number: 2^23 + byte has the byte as its last bits, and no rounding takes place.
__device__ __forceinline__ float byte_of(u32 word, int byte, float offset) {
    return __uint_as_float(__byte_perm(word, 0x4b000000u, 0x7440 | byte)) - (8388608.0f + offset);
}

struct F32 {
    static const int VALUES = 4;
    static const bool BLOCKS = false;

    static __device__ __forceinline__ Vector load(const Weight& weight, int columns, int row, int at) {
        Vector vector;
        vector.bits = load_once(weight.quants + ((size_t)row * columns + at * VALUES) * 4);
        return vector;
    }
    static __device__ __forceinline__ float dot(const Vector& vector, const float* x) {
        float4 factor = *(const float4*)x;
        return word_of(vector.bits, 0) * factor.x + word_of(vector.bits, 1) * factor.y
            + word_of(vector.bits, 2) * factor.z + word_of(vector.bits, 3) * factor.w;
    }
    static __device__ __forceinline__ float one(const Weight& weight, int columns, int row, int column) {
        return ((const float*)weight.quants)[(size_t)row * columns + column];
    }
    static __device__ __forceinline__ void eight(const Weight& weight, int columns, int row, int column, float* output) {
        if (columns % 4 == 0) {
            const float4* numbers = (const float4*)(weight.quants + ((size_t)row * columns + column) * 4);
            float4 low = numbers[0], high = numbers[1];
            output[0] = low.x, output[1] = low.y, output[2] = low.z, output[3] = low.w;
            output[4] = high.x, output[5] = high.y, output[6] = high.z, output[7] = high.w;
        } else {
#pragma unroll
            for (int i = 0; i < 8; i++) output[i] = one(weight, columns, row, column + i);
        }
    }
};

// The two formats of 16 bits.
template <class Wide> struct Halves {
    static const int VALUES = 8;
    static const bool BLOCKS = false;

    static __device__ __forceinline__ Vector load(const Weight& weight, int columns, int row, int at) {
        Vector vector;
        vector.bits = load_once(weight.quants + ((size_t)row * columns + at * VALUES) * 2);
        return vector;
    }
    static __device__ __forceinline__ float dot(const Vector& vector, const float* x) {
        float sum = 0.0f;
#pragma unroll
        for (int word = 0; word < 4; word++) {
            float2 factor = *(const float2*)(x + 2 * word);
            u32 two = bits_of(vector.bits, word);
            sum += Wide::widen(two & 0xffff) * factor.x;
            sum += Wide::widen(two >> 16) * factor.y;
        }
        return sum;
    }
    static __device__ __forceinline__ float one(const Weight& weight, int columns, int row, int column) {
        return Wide::widen(((const u16*)weight.quants)[(size_t)row * columns + column]);
    }
    static __device__ __forceinline__ void eight(const Weight& weight, int columns, int row, int column, float* output) {
        if (columns % 8 == 0) {
            uint4 bits = *(const uint4*)(weight.quants + ((size_t)row * columns + column) * 2);
#pragma unroll
            for (int word = 0; word < 4; word++) {
                output[2 * word] = Wide::widen(bits_of(bits, word) & 0xffff);
                output[2 * word + 1] = Wide::widen(bits_of(bits, word) >> 16);
            }
        } else {
#pragma unroll
            for (int i = 0; i < 8; i++) output[i] = one(weight, columns, row, column + i);
        }
    }
};

struct WideBf16 {
    static __device__ __forceinline__ float widen(u16 bits) { return widen_bf16(bits); }
};
struct WideF16 {
    static __device__ __forceinline__ float widen(u16 bits) { return widen_f16(bits); }
};
typedef Halves<WideBf16> Bf16;
typedef Halves<WideF16> F16;

// How the four kinds of scales are read; `column` is any column of the run.

// q8_0 and q4_0.
struct ScaleOf32 {
    static __device__ __forceinline__ Scaled scaled(const Weight& weight, int columns, int row, int column) {
        Scaled run;
        run.scale = widen_f16(weight.factors[(size_t)row * (columns / 32) + column / 32]);
        run.minimum = 0.0f;
        return run;
    }
};

// q4_k and q5_k.
struct ScaleAndMinimum {
    static __device__ __forceinline__ Scaled scaled(const Weight& weight, int columns, int row, int column) {
        u32 factors = ((const u32*)weight.factors)[(size_t)row * (columns / 256) + column / 256];
        u16 subs = ((const u16*)weight.subs)[(size_t)row * (columns / 32) + column / 32];
        Scaled run;
        run.scale = widen_f16(factors & 0xffff) * (float)(subs & 0xff);
        run.minimum = widen_f16(factors >> 16) * (float)(subs >> 8);
        return run;
    }
};

// q6_k.
struct SignedScaleOf16 {
    static __device__ __forceinline__ Scaled scaled(const Weight& weight, int columns, int row, int column) {
        signed char sub = ((const signed char*)weight.subs)[(size_t)row * (columns / 16) + column / 16];
        Scaled run;
        run.scale = widen_f16(weight.factors[(size_t)row * (columns / 256) + column / 256]) * (float)sub;
        run.minimum = 0.0f;
        return run;
    }
};

// Block formats whose weights are kept in a byte each.
template <class Scales, int OFFSET, bool MINIMA> struct Bytes {
    static const int VALUES = 16;
    static const bool BLOCKS = true;

    static __device__ __forceinline__ Vector load(const Weight& weight, int columns, int row, int at) {
        Vector vector;
        vector.bits = load_once(weight.quants + (size_t)row * columns + at * VALUES);
        vector.scaled = Scales::scaled(weight, columns, row, at * VALUES);
        return vector;
    }
    static __device__ __forceinline__ float dot(const Vector& vector, const float* x) {
        float sum = 0.0f, plain = 0.0f;
#pragma unroll
        for (int word = 0; word < 4; word++) {
            float4 factor = *(const float4*)(x + 4 * word);
            u32 four = bits_of(vector.bits, word);
            sum += byte_of(four, 0, OFFSET) * factor.x + byte_of(four, 1, OFFSET) * factor.y
                + byte_of(four, 2, OFFSET) * factor.z + byte_of(four, 3, OFFSET) * factor.w;
            if (MINIMA) plain += factor.x + factor.y + factor.z + factor.w;
        }
        return vector.scaled.scale * sum - (MINIMA ? vector.scaled.minimum * plain : 0.0f);
    }
    static __device__ __forceinline__ float one(const Weight& weight, int columns, int row, int column) {
        Scaled run = Scales::scaled(weight, columns, row, column);
        float quant = (float)((int)weight.quants[(size_t)row * columns + column] - OFFSET);
        // Each operation rounded by itself: these are the processor's weights, bit for bit.
        return __fsub_rn(__fmul_rn(run.scale, quant), run.minimum);
    }
    static __device__ __forceinline__ void eight(const Weight& weight, int columns, int row, int column, float* output) {
        Scaled run = Scales::scaled(weight, columns, row, column);
        uint2 bits = *(const uint2*)(weight.quants + (size_t)row * columns + column);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            float quant = byte_of(i < 4 ? bits.x : bits.y, i % 4, OFFSET);
            output[i] = __fsub_rn(__fmul_rn(run.scale, quant), run.minimum);
        }
    }
};

// Block formats whose weights are kept in 4 bits each.
template <class Scales, int OFFSET, bool MINIMA> struct Nibbles {
    static const int VALUES = 32;
    static const bool BLOCKS = true;

    static __device__ __forceinline__ Vector load(const Weight& weight, int columns, int row, int at) {
        Vector vector;
        vector.bits = load_once(weight.quants + ((size_t)row * columns + at * VALUES) / 2);
        vector.scaled = Scales::scaled(weight, columns, row, at * VALUES);
        return vector;
    }
    static __device__ __forceinline__ float dot(const Vector& vector, const float* x) {
        float sum = 0.0f, plain = 0.0f;
#pragma unroll
        for (int half = 0; half < 2; half++) {
#pragma unroll
            for (int word = 0; word < 4; word++) {
                float4 factor = *(const float4*)(x + 16 * half + 4 * word);
                u32 four = (bits_of(vector.bits, word) >> (4 * half)) & 0x0f0f0f0fu;
                sum += byte_of(four, 0, OFFSET) * factor.x + byte_of(four, 1, OFFSET) * factor.y
                    + byte_of(four, 2, OFFSET) * factor.z + byte_of(four, 3, OFFSET) * factor.w;
                if (MINIMA) plain += factor.x + factor.y + factor.z + factor.w;
            }
        }
        return vector.scaled.scale * sum - (MINIMA ? vector.scaled.minimum * plain : 0.0f);
    }
    static __device__ __forceinline__ float one(const Weight& weight, int columns, int row, int column) {
        Scaled run = Scales::scaled(weight, columns, row, column);
        u8 both = weight.quants[((size_t)row * columns + column / 32 * 32) / 2 + column % 16];
        float quant = (float)((column % 32 < 16 ? both & 15 : both >> 4) - OFFSET);
        return __fsub_rn(__fmul_rn(run.scale, quant), run.minimum);
    }
    static __device__ __forceinline__ void eight(const Weight& weight, int columns, int row, int column, float* output) {
        Scaled run = Scales::scaled(weight, columns, row, column);
        uint2 bits = *(const uint2*)(weight.quants + ((size_t)row * columns + column / 32 * 32) / 2 + column % 16);
        int shift = column % 32 < 16 ? 0 : 4;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            u32 four = ((i < 4 ? bits.x : bits.y) >> shift) & 0x0f0f0f0fu;
            output[i] = __fsub_rn(__fmul_rn(run.scale, byte_of(four, i % 4, OFFSET)), run.minimum);
        }
    }
};

typedef Bytes<ScaleOf32, 128, false> Q8_0;
typedef Nibbles<ScaleOf32, 8, false> Q4_0;
typedef Nibbles<ScaleAndMinimum, 0, true> Q4_K;
typedef Bytes<ScaleAndMinimum, 0, true> Q5_K;
typedef Bytes<SignedScaleOf16, 32, false> Q6_K;

// Makes a kernel for each format: `DEFINE(name, Format)`.
#define FOR_EVERY_FORMAT(DEFINE) \
    DEFINE(f32, F32)             \
    DEFINE(bf16, Bf16)           \
    DEFINE(f16, F16)             \
    DEFINE(q8_0, Q8_0)           \
    DEFINE(q4_0, Q4_0)           \
    DEFINE(q4_k, Q4_K)           \
    DEFINE(q5_k, Q5_K)           \
    DEFINE(q6_k, Q6_K)
