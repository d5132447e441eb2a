// Decoding several sequences: the inner half of a gated MLP.
//
//     inner[s, r] = f(gate[r] . x[s] + gate_bias[r]) * (up[r] . x[s] + up_bias[r])
//
// inner: [16, rows] in the format `row_format` (many_rows.cuh); x: [16, columns] in the format of the matrices' products,
// aligned to 16 bytes; gate, up: [rows, columns], columns a multiple of 8; biases: [rows] f32, or null.
#include "many.cuh"

struct Inner {
    void* inner;
    Weight gate, up;
    const float* gate_bias;
    const float* up_bias;
    int rows, runs, nonlinearity, row_format;

    __device__ __forceinline__ int tiles() const { return tiles_of(rows); }
    __device__ __forceinline__ Tile<2> tile(int nth) const {
        return Tile<2>{{gate, up}, nth * TILE_ROWS, rows, 0, runs};
    }
    __device__ __forceinline__ void finish(int nth, int sequence, int row, const float* sums) const {
        row += nth * TILE_ROWS;
        if (row >= rows) return;
        float value = activate_one(gate_bias ? sums[0] + gate_bias[row] : sums[0], nonlinearity);
        value *= up_bias ? sums[1] + up_bias[row] : sums[1];
        store_row(row_format, inner, (size_t)sequence * rows + row, value);
    }
};

template <class F>
__device__ void many_inner(
    void* inner, const void* x, const Weight& gate, const Weight& up, const float* gate_bias, const float* up_bias,
    int columns, int rows, int nonlinearity, int row_format, int sequences) {
    Inner job = {inner, gate, up, gate_bias, up_bias, rows, runs_of<F>(columns), nonlinearity, row_format};
    share_out<F, 2>(job, x, columns, sequences);
}

#define DEFINE(name, Format)                                                                                           \
    extern "C" __global__ void __launch_bounds__(256, 2) many_inner_##name(                                           \
        void* inner, const void* x, Weight gate, Weight up, const float* gate_bias, const float* up_bias, int columns, \
        int rows, int nonlinearity, int row_format, int sequences) {                                                  \
        many_inner<Format>(                                                                                           \
            inner, x, gate, up, gate_bias, up_bias, columns, rows, nonlinearity, row_format, sequences);              \
    }
FOR_EVERY_FORMAT(DEFINE)
