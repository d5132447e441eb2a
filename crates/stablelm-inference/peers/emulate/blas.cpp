// As much of cuBLASLt as `cuda/blas.rs` calls: products of matrices, queued on the streams of `driver.cpp`.
//
// It refuses what NVIDIA's library refuses, and rows of 16-bit numbers that do not begin at multiples of 16 bytes, so that
// the way without it is taken as well.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#define EXPORT extern "C" __attribute__((visibility("default")))

// Those of `driver.cpp`.
extern "C" int stand_in_queue(void* stream, const char* what, void (*run)(void*), void* argument);
extern "C" long long stand_in_offset(uint64_t address, size_t bytes);

enum Status { SUCCESS = 0, INVALID_VALUE = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };
enum Kind { SINGLE = 0, HALF = 2, BRAIN = 14 };
static const int COMPUTE_32F = 68, TRANSPOSE_A = 3, MAX_WORKSPACE_BYTES = 1;

struct Layout {
    int kind;
    uint64_t rows, columns;
    int64_t pitch;

    size_t number_bytes() const { return kind == SINGLE ? 4 : 2; }
    size_t bytes() const { return (size_t)pitch * columns * number_bytes(); }
};
struct Description {
    int compute, scale;
    int32_t transpose_a;
};
struct Preference {
    size_t workspace;
};
struct Heuristic {
    uint64_t algorithm[8];
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
};

struct Product {
    uint64_t left, right, output, workspace;
    Layout left_layout, right_layout, output_layout;
    size_t workspace_bytes;
};

static float number(uint64_t address, int kind, size_t at) {
    if (kind == SINGLE) return ((const float*)address)[at];
    uint16_t bits = ((const uint16_t*)address)[at];
    if (kind == HALF) {
        _Float16 half;
        memcpy(&half, &bits, sizeof half);
        return (float)half;
    }
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

// Sums the columns of the left factor, which is transposed, with those of the right one.
static void multiply(void* argument) {
    Product* product = (Product*)argument;
    memset((void*)product->workspace, 0xff, product->workspace_bytes);
    const Layout &left = product->left_layout, &right = product->right_layout, &output = product->output_layout;
    for (size_t column = 0; column < output.columns; column++) {
        for (size_t row = 0; row < output.rows; row++) {
            double sum = 0;
            for (size_t at = 0; at < left.rows; at++) {
                sum += (double)number(product->left, left.kind, row * left.pitch + at)
                    * number(product->right, right.kind, column * right.pitch + at);
            }
            ((float*)product->output)[column * output.pitch + row] = (float)sum;
        }
    }
    delete product;
}

EXPORT int cublasLtCreate(void** handle) {
    *handle = new int(0);
    return SUCCESS;
}
EXPORT int cublasLtDestroy(void* handle) {
    delete (int*)handle;
    return SUCCESS;
}
EXPORT int cublasLtMatrixLayoutCreate(void** handle, int kind, uint64_t rows, uint64_t columns, int64_t pitch) {
    if (pitch < (int64_t)rows || !rows || !columns) return INVALID_VALUE;
    *handle = new Layout{kind, rows, columns, pitch};
    return SUCCESS;
}
EXPORT int cublasLtMatrixLayoutDestroy(void* handle) {
    delete (Layout*)handle;
    return SUCCESS;
}
EXPORT int cublasLtMatmulDescCreate(void** handle, int compute, int scale) {
    *handle = new Description{compute, scale, 0};
    return SUCCESS;
}
EXPORT int cublasLtMatmulDescSetAttribute(void* handle, int attribute, const void* value, size_t bytes) {
    if (attribute != TRANSPOSE_A || bytes != sizeof(int32_t)) return INVALID_VALUE;
    memcpy(&((Description*)handle)->transpose_a, value, bytes);
    return SUCCESS;
}
EXPORT int cublasLtMatmulDescDestroy(void* handle) {
    delete (Description*)handle;
    return SUCCESS;
}
EXPORT int cublasLtMatmulPreferenceCreate(void** handle) {
    *handle = new Preference{0};
    return SUCCESS;
}
EXPORT int cublasLtMatmulPreferenceSetAttribute(void* handle, int attribute, const void* value, size_t bytes) {
    if (attribute != MAX_WORKSPACE_BYTES || bytes != sizeof(size_t)) return INVALID_VALUE;
    memcpy(&((Preference*)handle)->workspace, value, bytes);
    return SUCCESS;
}
EXPORT int cublasLtMatmulPreferenceDestroy(void* handle) {
    delete (Preference*)handle;
    return SUCCESS;
}
EXPORT int cublasLtMatmulAlgoGetHeuristic(
    void*, void* description_handle, void* left_handle, void* right_handle, void* input_handle, void* output_handle,
    void* preference_handle, int, Heuristic* heuristic, int* count) {
    const Description& description = *(Description*)description_handle;
    const Layout &left = *(Layout*)left_handle, &right = *(Layout*)right_handle, &output = *(Layout*)output_handle;
    const Layout& input = *(Layout*)input_handle;
    *count = 0;
    bool fits = left.rows == right.rows && output.rows == left.columns && output.columns == right.columns
        && input.rows == output.rows && input.columns == output.columns;
    if (!fits) return INVALID_VALUE;
    bool is_known = description.transpose_a == 1 && description.compute == COMPUTE_32F && description.scale == SINGLE
        && left.kind == right.kind && output.kind == SINGLE && input.kind == SINGLE;
    if (!is_known || left.pitch * left.number_bytes() % 16 != 0) return NOT_SUPPORTED;
    *heuristic = {{1}, ((Preference*)preference_handle)->workspace, SUCCESS, 1, {}};
    *count = 1;
    return SUCCESS;
}
EXPORT int cublasLtMatmul(
    void*, void*, const float* alpha, uint64_t left, void* left_layout, uint64_t right, void* right_layout, const float* beta,
    uint64_t input, void*, uint64_t output, void* output_layout, const Heuristic* algorithm, uint64_t workspace,
    size_t workspace_bytes, void* stream) {
    Product product = {
        left, right, output, workspace, *(Layout*)left_layout, *(Layout*)right_layout, *(Layout*)output_layout, workspace_bytes};
    // Nothing else is asked for by us.
    if (*alpha != 1 || *beta != 0 || input != output || algorithm->algorithm[0] != 1) return INVALID_VALUE;
    // The library takes it that matrices begin at multiples of 256 bytes, as memory does.
    bool is_aligned = stand_in_offset(left, product.left_layout.bytes()) % 256 == 0
        && stand_in_offset(right, product.right_layout.bytes()) % 256 == 0
        && stand_in_offset(output, product.output_layout.bytes()) % 256 == 0
        && stand_in_offset(workspace, workspace_bytes) % 256 == 0;
    if (!is_aligned) return INVALID_VALUE;
    Product* queued = new Product(product);
    if (stand_in_queue(stream, "a product by cuBLASLt", multiply, queued) == 0) return SUCCESS;
    delete queued;
    return EXECUTION_FAILED;
}
