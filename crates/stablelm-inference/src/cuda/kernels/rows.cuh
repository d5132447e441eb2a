// Sums over rows of a matrix, a warp at a time, and the normalization that goes before them: what decoding is made of.

// How many vectors of 16 bytes of each row are asked for before the first is used.
#define IN_FLIGHT 4

// Returns `x . row` for two rows, of one matrix or of two, to every lane of the warp.
//
// `x` is shared or global memory, aligned to 16 bytes. Lanes take vectors in turn, so that a warp reads 512 bytes of a
// row in one go; two rows of IN_FLIGHT vectors are on their way at a time.
template <class F>
__device__ __forceinline__ float2 two_rows(
    const Weight& first, int first_row, const Weight& second, int second_row, int columns, const float* x) {
    int lane = threadIdx.x % WARP;
    float2 sums = make_float2(0.0f, 0.0f);
    if (F::BLOCKS || columns % F::VALUES == 0) {
        int vectors = columns / F::VALUES;
        for (int start = lane; start < vectors; start += WARP * IN_FLIGHT) {
            Vector loaded[2][IN_FLIGHT];
#pragma unroll
            for (int i = 0; i < IN_FLIGHT; i++) {
                int at = start + i * WARP;
                if (at < vectors) {
                    loaded[0][i] = F::load(first, columns, first_row, at);
                    loaded[1][i] = F::load(second, columns, second_row, at);
                }
            }
#pragma unroll
            for (int i = 0; i < IN_FLIGHT; i++) {
                int at = start + i * WARP;
                if (at < vectors) {
                    sums.x += F::dot(loaded[0][i], x + at * F::VALUES);
                    sums.y += F::dot(loaded[1][i], x + at * F::VALUES);
                }
            }
        }
    } else {
        // Rows that do not begin at multiples of 16 bytes: of tiny models only.
        for (int column = lane; column < columns; column += WARP) {
            sums.x += F::one(first, columns, first_row, column) * x[column];
            sums.y += F::one(second, columns, second_row, column) * x[column];
        }
    }
    return make_float2(warp_sum(sums.x), warp_sum(sums.y));
}

// Asks for the vectors that `two_rows` reads first, before the kernels before this one have ended.
template <class F>
__device__ __forceinline__ void prefetch_rows(
    const Weight& first, int first_row, const Weight& second, int second_row, int columns) {
    // Vectors of 16 bytes in a row; a row of a tiny model may have a few more bytes.
    size_t vectors = columns / F::VALUES;
#pragma unroll
    for (int i = 0; i < IN_FLIGHT; i++) {
        int at = threadIdx.x % WARP + i * WARP;
        if (at < vectors) {
            prefetch(first.quants + (first_row * vectors + at) * 16);
            prefetch(second.quants + (second_row * vectors + at) * 16);
        }
    }
}

// Writes `(x - mean) / sqrt(variance + epsilon) * weight + bias` of one row to shared memory; all threads take part.
//
// Every block does it for itself: the row is a few kilobytes in the second level cache, a launch of its own would take
// longer. `bias` may be null. `room` is shared memory for a number of each warp.
__device__ __forceinline__ void normalize_row(
    const float* x, const float* weight, const float* bias, int columns, float epsilon, float* output, float* room) {
    float sum = 0.0f;
    for (int column = threadIdx.x; column < columns; column += blockDim.x) {
        float value = x[column];
        output[column] = value;
        sum += value;
    }
    float mean = block_sum(sum, room) / columns;
    float squares = 0.0f;
    for (int column = threadIdx.x; column < columns; column += blockDim.x) {
        float away = output[column] - mean;
        squares += away * away;
    }
    float scale = rsqrtf(block_sum(squares, room) / columns + epsilon);
    for (int column = threadIdx.x; column < columns; column += blockDim.x) {
        float value = (output[column] - mean) * scale * weight[column];
        output[column] = bias ? value + bias[column] : value;
    }
    __syncthreads();
}
