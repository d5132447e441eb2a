// Decoding several sequences: a matrix, or up to three that are read side by side, by a row of each sequence.
//
//     output[part, s, r] = sum over the part's c of weight[r, c] * x[s, c] (+ bias[r] in part 0)
//
// x: [16, columns] in the format of the matrix's products (many.cuh), aligned to 16 bytes; the matrices: [rows, columns],
// all in one format, columns a multiple of 8; their rows follow each other in the output; biases: [rows] f32, or null;
// output: [parts, 16, width] f32. The columns are cut into `parts` where a matrix has too few rows for all multiprocessors,
// and whoever reads the output adds the parts.
// With a nonlinearity (its number is not below 0) there is one part, and output is f(..) in the format `row_format`
// (many_rows.cuh): the inner half of an MLP without a gate.
#include "many.cuh"

struct Multiply {
    void* output;
    Weight weights[3];
    const float* biases[3];
    int rows[3];
    int width, parts, runs, nonlinearity, row_format;

    // Which matrix a tile is of, and where that begins.
    struct Place {
        int matrix, tile, start;
    };

    __device__ __forceinline__ Place place(int nth) const {
        int tile = nth / parts;
        if (tile < tiles_of(rows[0])) return Place{0, tile, 0};
        tile -= tiles_of(rows[0]);
        if (tile < tiles_of(rows[1])) return Place{1, tile, rows[0]};
        return Place{2, tile - tiles_of(rows[1]), rows[0] + rows[1]};
    }
    __device__ __forceinline__ int tiles() const {
        return (tiles_of(rows[0]) + tiles_of(rows[1]) + tiles_of(rows[2])) * parts;
    }
    __device__ __forceinline__ Tile<1> tile(int nth) const {
        Place at = place(nth);
        // No index that is not known when compiling, so that nothing has to lie in memory.
        Weight weight = at.matrix == 0 ? weights[0] : at.matrix == 1 ? weights[1] : weights[2];
        int count = at.matrix == 0 ? rows[0] : at.matrix == 1 ? rows[1] : rows[2];
        int part = nth % parts;
        return Tile<1>{{weight}, at.tile * TILE_ROWS, count, runs * part / parts, runs * (part + 1) / parts};
    }
    __device__ __forceinline__ void finish(int nth, int sequence, int row, const float* sums) const {
        Place at = place(nth);
        row += at.tile * TILE_ROWS;
        const float* bias = at.matrix == 0 ? biases[0] : at.matrix == 1 ? biases[1] : biases[2];
        int count = at.matrix == 0 ? rows[0] : at.matrix == 1 ? rows[1] : rows[2];
        int part = nth % parts;
        if (row >= count) return;
        size_t to = ((size_t)part * SEQUENCES + sequence) * width + at.start + row;
        float value = bias && part == 0 ? sums[0] + bias[row] : sums[0];
        if (nonlinearity < 0) ((float*)output)[to] = value;
        else store_row(row_format, output, to, activate_one(value, nonlinearity));
    }
};

template <class F>
__device__ void many_multiply(
    void* output, const Weight& first, const Weight& second, const Weight& third, const void* x,
    const float* first_bias, const float* second_bias, const float* third_bias, int first_rows, int second_rows,
    int third_rows, int columns, int width, int parts, int nonlinearity, int row_format, int sequences) {
    Multiply job = {
        output, {first, second, third}, {first_bias, second_bias, third_bias}, {first_rows, second_rows, third_rows},
        width, parts, runs_of<F>(columns), nonlinearity, row_format};
    share_out<F, 1>(job, x, columns, sequences);
}

#define DEFINE(name, Format)                                                                                           \
    extern "C" __global__ void __launch_bounds__(256, 2) many_multiply_##name(                                        \
        void* output, Weight first, Weight second, Weight third, const void* x, const float* first_bias,              \
        const float* second_bias, const float* third_bias, int first_rows, int second_rows, int third_rows,           \
        int columns, int width, int parts, int nonlinearity, int row_format, int sequences) {                         \
        many_multiply<Format>(                                                                                        \
            output, first, second, third, x, first_bias, second_bias, third_bias, first_rows, second_rows,            \
            third_rows, columns, width, parts, nonlinearity, row_format, sequences);                                  \
    }
FOR_EVERY_FORMAT(DEFINE)
