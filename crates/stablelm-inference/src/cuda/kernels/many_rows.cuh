// The rows of several sequences: activations in the format that the next matrix's products are made in.
#include "common.cuh"

// The most sequences; there is always memory for as many rows.
#define SEQUENCES 16

// The formats of rows, as numbers in the launchers.
#define ROWS_F32 0
#define ROWS_F16 1
#define ROWS_BF16 2

// Stores a number, rounded to nearest.
__device__ __forceinline__ void store_row(int format, void* rows, size_t at, float value) {
    if (format == ROWS_F32) ((float*)rows)[at] = value;
    else if (format == ROWS_F16) ((u16*)rows)[at] = round_f16(value);
    else ((u16*)rows)[at] = round_bf16(value);
}
