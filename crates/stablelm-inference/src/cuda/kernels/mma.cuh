// Products on tensor cores: `mma.m16n8k16`.
//
// In its fragments a lane holds, with group = lane / 4 and pair = 2 * (lane % 4),
// - of the left matrix: rows group and group + 8, columns pair, pair + 1 and 8 more;
// - of the right one: column group, rows pair, pair + 1 and 8 more;
// - of the result: rows group and group + 8, columns pair and pair + 1.
#include "common.cuh"

// sums += left * right, for 16 by 8 sums, over 16 products of halves each.
__device__ __forceinline__ void multiply_add_f16(float* sums, const u32* left, const u32* right) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]));
}

// The same in bf16.
__device__ __forceinline__ void multiply_add_bf16(float* sums, const u32* left, const u32* right) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]));
}
