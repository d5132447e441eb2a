// Every kernel beside a plain sum in f64. The kernels are put before this file, see `emulate_kernels.py`.

#include <string>

static unsigned long long noise_state = 1;
static int failures = 0, compared = 0;

// A number from -1 to 1 that looks random.
static float noise() {
    noise_state = noise_state * 6364136223846793005ull + 1442695040888963407ull;
    return (float)(noise_state >> 40) / (1 << 23) - 1.0f;
}

static std::vector<float> noises(size_t len) {
    std::vector<float> values(len);
    for (float& value : values) value = noise();
    return values;
}

static void check(const std::string& what, size_t at, double found, double expected, double allowed) {
    compared++;
    if (std::fabs(found - expected) <= allowed * (1.0 + std::fabs(expected))) return;
    if (failures++ < 20) printf("%s[%zu]: %g, expected %g\n", what.c_str(), at, found, expected);
}

static double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
static double nonlinear(double x, int kind) {
    if (kind == 0) return x * sigmoid(x);
    if (kind == 1) return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0)));
    if (kind == 2) return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
    return x;
}

enum Format { PLAIN_F32, PLAIN_BF16, PLAIN_F16, BLOCK_Q8_0, BLOCK_Q4_0, BLOCK_Q4_K, BLOCK_Q5_K, BLOCK_Q6_K, FORMATS };
static const char* NAMES[] = {"f32", "bf16", "f16", "q8_0", "q4_0", "q4_k", "q5_k", "q6_k"};

// A matrix of random numbers in the layout of `weights.cuh`, and the weights that it stands for.
struct Matrix {
    int rows, columns;
    std::vector<uint4> quants;
    std::vector<uint16_t> factors;
    std::vector<uint8_t> subs;
    std::vector<float> weights;

    uint8_t* bytes() { return (uint8_t*)quants.data(); }

    Matrix(int format, int rows, int columns) : rows(rows), columns(columns) {
        size_t len = (size_t)rows * columns;
        quants.resize(len / 4 + 1);
        weights.resize(len);
        for (size_t at = 0; at < (len + 255) / 256 * 2 + len / 32; at++) factors.push_back(round_half(noise() / 64));
        for (size_t at = 0; at < len / 16 + 2; at++) subs.push_back((uint8_t)((noise() + 1) * 31));
        for (int row = 0; row < rows; row++) {
            for (int column = 0; column < columns; column++) set(format, row, column);
        }
    }

    void set(int format, int row, int column) {
        size_t at = (size_t)row * columns + column;
        float& weight = weights[at];
        float value = noise();
        if (format == PLAIN_F32) {
            ((float*)bytes())[at] = weight = value;
        } else if (format == PLAIN_BF16) {
            uint16_t bits = ((uint16_t*)bytes())[at] = round_brain(value);
            weight = same_bits<float>((uint32_t)bits << 16);
        } else if (format == PLAIN_F16) {
            uint16_t bits = ((uint16_t*)bytes())[at] = round_half(value);
            weight = widen_half(bits);
        } else {
            set_block(format, row, column, value);
        }
    }

    void set_block(int format, int row, int column, float value) {
        size_t at = (size_t)row * columns + column, run = at / 32, block = at / 256;
        bool nibble = format == BLOCK_Q4_0 || format == BLOCK_Q4_K;
        int most = nibble ? 16 : format == BLOCK_Q8_0 ? 256 : format == BLOCK_Q5_K ? 32 : 64;
        int quant = (int)((value + 1) / 2 * most) % most;
        if (nibble) {
            // 32 columns in 16 bytes: the first 16 in the low halves.
            uint8_t& both = bytes()[at / 32 * 16 + column % 16];
            both = column % 32 < 16 ? quant : both | quant << 4;
        } else {
            bytes()[at] = quant;
        }
        float scale, minimum = 0;
        if (format == BLOCK_Q8_0 || format == BLOCK_Q4_0) {
            scale = widen_half(factors[run]);
        } else if (format == BLOCK_Q6_K) {
            scale = widen_half(factors[block]) * (int8_t)subs[at / 16];
        } else {
            scale = widen_half(factors[2 * block]) * subs[2 * run];
            minimum = widen_half(factors[2 * block + 1]) * subs[2 * run + 1];
        }
        int offset = format == BLOCK_Q8_0 ? 128 : format == BLOCK_Q4_0 ? 8 : format == BLOCK_Q6_K ? 32 : 0;
        weights[(size_t)row * columns + column] = scale * (quant - offset) - minimum;
    }

    template <class Weight> Weight as() { return Weight{bytes(), factors.data(), subs.data()}; }

    double dot(int row, const float* x) const {
        double sum = 0;
        for (int column = 0; column < columns; column++) sum += (double)weights[(size_t)row * columns + column] * x[column];
        return sum;
    }
};

static std::vector<float> normalized(const std::vector<float>& x, const float* weight, const float* bias, size_t group) {
    std::vector<float> output(x.size());
    for (size_t start = 0; start < x.size(); start += group) {
        double mean = 0, squares = 0;
        for (size_t at = start; at < start + group; at++) mean += x[at] / (double)group;
        for (size_t at = start; at < start + group; at++) squares += (x[at] - mean) * (x[at] - mean);
        for (size_t at = start; at < start + group; at++) {
            output[at] = (x[at] - mean) / std::sqrt(squares / group + 1e-5) * weight[at] + (bias ? bias[at] : 0);
        }
    }
    return output;
}

#define EACH_FORMAT(run, kernel)                                                                        \
    run(kernel##_f32, PLAIN_F32);                                                                       \
    run(kernel##_bf16, PLAIN_BF16);                                                                     \
    run(kernel##_f16, PLAIN_F16);                                                                       \
    run(kernel##_q8_0, BLOCK_Q8_0);                                                                     \
    run(kernel##_q4_0, BLOCK_Q4_0);                                                                     \
    run(kernel##_q4_k, BLOCK_Q4_K);                                                                     \
    run(kernel##_q5_k, BLOCK_Q5_K);                                                                     \
    run(kernel##_q6_k, BLOCK_Q6_K)

static bool is_block(int format) { return format >= BLOCK_Q8_0; }

static void check_products() {
    auto embed = [](auto kernel, int format) {
        Matrix table(format, 7, 512);
        std::vector<int> ids = {3, 6, 0};
        std::vector<float> output(3 * 512);
        launch(kernel, {3, 1, 1}, 64, output.data(), table.as<embed_cu::Weight>(), ids.data(), 512);
        for (size_t at = 0; at < output.size(); at++) {
            check(std::string("embed_") + NAMES[format], at, output[at], table.weights[ids[at / 512] * 512 + at % 512], 0);
        }
    };
    EACH_FORMAT(embed, embed_cu::embed);
    auto decode_embed = [](auto kernel, int format) {
        Matrix table(format, 7, 256);
        int state[2] = {5, 0};
        std::vector<float> output(256);
        launch(kernel, {2, 1, 1}, 128, output.data(), table.as<decode_embed_cu::Weight>(), state, 256);
        for (size_t at = 0; at < 256; at++) check("decode_embed", at, output[at], table.weights[5 * 256 + at], 0);
    };
    EACH_FORMAT(decode_embed, decode_embed_cu::decode_embed);
    auto gemv = [](auto kernel, int format) {
        for (int columns : {36, 256, 1280, 5376}) {
            if (columns == 36 && is_block(format)) continue;
            Matrix matrix(format, 5, columns);
            std::vector<float> x = noises(2 * columns), bias = noises(5), output(2 * 5);
            launch(
                kernel, {1, 2, 1}, 64, output.data(), matrix.as<gemv_cu::Weight>(), x.data(),
                columns == 256 ? nullptr : bias.data(), 5, columns);
            for (int at = 0; at < 10; at++) {
                double expected = matrix.dot(at % 5, &x[at / 5 * columns]) + (columns == 256 ? 0 : bias[at % 5]);
                check(std::string("gemv_") + NAMES[format], at, output[at], expected, 3e-5);
            }
        }
    };
    EACH_FORMAT(gemv, gemv_cu::gemv);
    auto gemm = [](auto kernel, int format) {
        for (int columns : {36, 70, 256}) {
            if (columns != 256 && is_block(format)) continue;
            Matrix matrix(format, 67, columns);
            std::vector<float> x = noises(70 * columns), bias = noises(67), output(70 * 67);
            launch(
                kernel, {2, 2, 1}, 256, output.data(), matrix.as<gemm_cu::Weight>(), x.data(), bias.data(), 70, 67, columns);
            for (int at = 0; at < 70 * 67; at++) {
                double expected = matrix.dot(at % 67, &x[at / 67 * columns]) + bias[at % 67];
                check(std::string("gemm_") + NAMES[format], at, output[at], expected, 1e-4);
            }
        }
    };
    EACH_FORMAT(gemm, gemm_cu::gemm);
}

static void check_values() {
    int rows = 5, width = 96;
    std::vector<float> x = noises(rows * width), weight = noises(width), bias = noises(width), output(rows * width);
    for (int group : {96, 24}) {
        launch(
            normalize_cu::normalize, {(unsigned)(rows * width / group), 1, 1}, 64, output.data(), x.data(), weight.data(),
            bias.data(), width, group, 1e-5f);
        for (int row = 0; row < rows; row++) {
            std::vector<float> one(x.begin() + row * width, x.begin() + (row + 1) * width);
            std::vector<float> expected = normalized(one, weight.data(), bias.data(), group);
            for (int at = 0; at < width; at++) check("normalize", at, output[row * width + at], expected[at], 1e-5);
        }
    }
    int head_dim = 24, pairs = 3;
    std::vector<float> cos = noises(rows * pairs), sin = noises(rows * pairs), turned = x;
    launch(rotate_cu::rotate, {1, 1, 1}, 128, turned.data(), cos.data(), sin.data(), rows, width, head_dim, pairs);
    for (int at = 0; at < rows * width; at++) {
        int row = at / width, dim = at % head_dim, pair = dim % pairs;
        double c = cos[row * pairs + pair], s = sin[row * pairs + pair], expected = x[at];
        if (dim < pairs) expected = x[at] * c - x[at + pairs] * s;
        else if (dim < 2 * pairs) expected = x[at] * c + x[at - pairs] * s;
        check("rotate", at, turned[at], expected, 1e-6);
    }
    for (int kind = 0; kind < 3; kind++) {
        std::vector<float> values = x, factor = noises(x.size());
        launch(activate_cu::activate, {2, 1, 1}, 256, values.data(), kind ? factor.data() : nullptr, rows * width, kind);
        for (size_t at = 0; at < x.size(); at++) {
            check("activate", at, values[at], nonlinear(x[at], kind) * (kind ? factor[at] : 1), 1e-6);
        }
    }
    std::vector<float> sum = x;
    launch(add_cu::add, {2, 1, 1}, 256, sum.data(), bias.data(), rows * width, width);
    for (size_t at = 0; at < x.size(); at++) check("add", at, sum[at], x[at] + bias[at % width], 0);
    std::vector<uint16_t> halves(x.size());
    x[0] = 1e6f, x[1] = -1e6f;
    launch(round_cu::round_to_f16, {2, 1, 1}, 256, halves.data(), x.data(), rows * width);
    check("round_to_f16", 0, widen_half(halves[0]), 65504, 0);
    check("round_to_f16", 1, widen_half(halves[1]), -65504, 0);
    for (size_t at = 2; at < x.size(); at++) check("round_to_f16", at, widen_half(halves[at]), x[at], 5e-4);
    launch(round_cu::round_to_bf16, {2, 1, 1}, 256, halves.data(), x.data(), rows * width);
    for (size_t at = 0; at < x.size(); at++) {
        check("round_to_bf16", at, same_bits<float>((uint32_t)halves[at] << 16), x[at], 4e-3);
    }
}

// The formats of cached keys and values, by their numbers in `cached.cuh`.
enum CacheFormat { CACHE_F32, CACHE_F16, CACHE_F8, CACHE_FORMATS };

// A number of FP8 E4M3, by the definition.
static float widen_f8(int code) {
    int exponent = code >> 3 & 15, mantissa = code & 7;
    float size = exponent ? std::ldexp(8 + mantissa, exponent - 10) : std::ldexp(mantissa, -9);
    if ((code & 127) == 127) size = NAN;
    return code & 128 ? -size : size;
}

// The nearest number of FP8 E4M3, by looking at each; of two as near, the even one.
static uint8_t round_f8(float value) {
    static std::vector<float> sizes;
    while (sizes.size() < 127) sizes.push_back(widen_f8(sizes.size()));
    int sign = std::signbit(value) ? 128 : 0, nearest = 0;
    if (std::isnan(value)) return sign | 127;
    for (int code = 1; code < 127; code++) {
        // The largest is the nearest of infinity as well.
        double size = std::fmin(std::fabs(value), 1e9), gain = std::fabs(sizes[nearest] - size) - std::fabs(sizes[code] - size);
        if (gain > 0 || (gain == 0 && code % 2 == 0)) nearest = code;
    }
    return sign | nearest;
}

static float read_as(int format, const void* cache, size_t at) {
    if (format == CACHE_F32) return ((const float*)cache)[at];
    if (format == CACHE_F16) return widen_half(((const uint16_t*)cache)[at]);
    return widen_f8(((const uint8_t*)cache)[at]);
}

static float rounded_as(int format, float value) {
    if (format == CACHE_F32) return value;
    return format == CACHE_F16 ? widen_half(round_half(value)) : widen_f8(round_f8(value));
}

// How far a number is rounded at most, relative to it.
static double rounding_as(int format) { return format == CACHE_F32 ? 0 : format == CACHE_F16 ? 1 / 2048.0 : 1 / 16.0; }

// Memory that is taken for whatever a kernel takes.
struct Memory {
    void* address;
    template <class T> operator T*() const { return (T*)address; }
};

// Keys or values of random numbers in a format, and what they are after rounding.
struct Cache {
    int format, heads, capacity, head_dim;
    std::vector<float> singles;
    std::vector<uint4> room;

    Cache(int format, int heads, int capacity, int head_dim)
        : format(format), heads(heads), capacity(capacity), head_dim(head_dim) {
        singles = noises((size_t)heads * capacity * head_dim);
        room.resize(singles.size() / 4 + 1);
        for (size_t at = 0; at < singles.size(); at++) {
            if (format == CACHE_F32) ((float*)place())[at] = singles[at];
            else if (format == CACHE_F16) ((uint16_t*)place())[at] = round_half(singles[at]);
            else ((uint8_t*)place())[at] = round_f8(singles[at]);
            singles[at] = read(at);
        }
    }
    Memory place() { return {room.data()}; }
    float read(size_t at) const { return read_as(format, room.data(), at); }
    float at(int head, int position, int dim) const { return singles[((size_t)head * capacity + position) * head_dim + dim]; }
};

// What kernels do with numbers of FP8 E4M3: each of them, and numbers that are rounded to one.
static void check_f8() {
    alignas(8) uint8_t codes[256];
    for (int code = 0; code < 256; code++) codes[code] = code;
    for (int code = 0; code < 256; code++) {
        float expected = widen_f8(code), one = append_cu::widen(codes[code]);
        uint4 eight = attend_mma_cu::load_halves(codes + code / 8 * 8);
        uint32_t words[4] = {eight.x, eight.y, eight.z, eight.w};
        float found = widen_half(words[code % 8 / 2] >> (code % 2 * 16) & 0xffff);
        check("widen f8", code, same_bits<uint32_t>(one) >> 31, code >> 7, 0);
        if (std::isnan(expected)) {
            check("f8 NaN", code, std::isnan(found) && std::isnan(one), 1, 0);
        } else {
            check("widen f8", code, one, expected, 0);
            check("load f8", code, found, expected, 0);
        }
    }
    std::vector<float> values = {0, 448, 463, 464, 465, 480, 1e9, INFINITY, NAN, 1e-45f, 1e-38f};
    for (int code = 0; code < 126; code++) {
        float low = widen_f8(code), middle = (low + widen_f8(code + 1)) / 2;
        for (float value : {low, middle}) {
            for (float beside : {std::nextafter(value, 0.0f), value, std::nextafter(value, 1e9f)}) values.push_back(beside);
        }
    }
    for (int at = 0; at < 20000; at++) values.push_back(std::ldexp(noise(), at % 24 - 13));
    for (size_t at = 0; at < values.size(); at++) {
        check("round f8", at, append_cu::round_f8(values[at]), round_f8(values[at]), 0);
        check("round f8 below 0", at, append_cu::round_f8(-values[at]), round_f8(-values[at]), 0);
    }
}

#define EACH_CACHE(run, kernel) \
    run(kernel##_f32, CACHE_F32); \
    run(kernel##_f16, CACHE_F16); \
    run(kernel##_f8, CACHE_F8)

static std::vector<double> attended(const float* query, const Cache& keys, const Cache& values, int head, int len) {
    int head_dim = keys.head_dim;
    std::vector<double> scores(len), output(head_dim);
    double largest = -INFINITY, total = 0;
    for (int position = 0; position < len; position++) {
        for (int dim = 0; dim < head_dim; dim++) scores[position] += (double)query[dim] * keys.at(head, position, dim);
        scores[position] *= 3 / std::sqrt((double)head_dim);
        largest = std::fmax(largest, scores[position]);
    }
    for (double& score : scores) total += score = std::exp(score - largest);
    for (int position = 0; position < len; position++) {
        for (int dim = 0; dim < head_dim; dim++) output[dim] += scores[position] / total * values.at(head, position, dim);
    }
    return output;
}

template <class Kernel>
static void check_attend(Kernel kernel, int format, int positions, int past, int heads, int cached, int head_dim) {
    Cache keys(format, cached, past + positions + 9, head_dim), values(format, cached, past + positions + 9, head_dim);
    std::vector<float> queries = noises((size_t)positions * heads * head_dim), output(queries.size());
    float scale = 3 / std::sqrt((float)head_dim);
    Index grid = {(unsigned)heads, (unsigned)(positions + 15) / 16, 1};
    launch(
        kernel, grid, 128, output.data(), queries.data(), keys.place(), values.place(), positions, past, heads, cached,
        head_dim, keys.capacity, scale);
    for (int at = 0; at < positions * heads; at++) {
        int head = at % heads / (heads / cached);
        std::vector<double> expected = attended(&queries[at * head_dim], keys, values, head, past + at / heads + 1);
        for (int dim = 0; dim < head_dim; dim++) check("attend", at, output[at * head_dim + dim], expected[dim], 1e-5);
    }
}

template <class Kernel>
static void check_attend_mma(Kernel kernel, int format, int positions, int past, int heads, int cached, int head_dim) {
    Cache keys(format, cached, past + positions + 9, head_dim), values(format, cached, past + positions + 9, head_dim);
    std::vector<float> queries = noises((size_t)positions * heads * head_dim), output(queries.size());
    float scale = 3 / std::sqrt((float)head_dim);
    launch(
        kernel, {(unsigned)heads, (unsigned)(positions + 63) / 64, 1}, 128, output.data(), queries.data(), keys.place(),
        values.place(), positions, past, heads, cached, keys.capacity, scale);
    for (int at = 0; at < positions * heads; at++) {
        int head = at % heads / (heads / cached);
        std::vector<double> expected = attended(&queries[at * head_dim], keys, values, head, past + at / heads + 1);
        // Queries and shares are rounded to 11 bits.
        for (int dim = 0; dim < head_dim; dim++) check("attend_mma", at, output[at * head_dim + dim], expected[dim], 2e-3);
    }
}

#define EACH_ATTEND(most, ...)                                           \
    check_attend(attend_cu::attend_f32_##most, CACHE_F32, __VA_ARGS__); \
    check_attend(attend_cu::attend_f16_##most, CACHE_F16, __VA_ARGS__); \
    check_attend(attend_cu::attend_f8_##most, CACHE_F8, __VA_ARGS__)
#define EACH_ATTEND_MMA(dim, ...)                                                   \
    check_attend_mma(attend_mma_cu::attend_mma_f16_##dim, CACHE_F16, __VA_ARGS__); \
    check_attend_mma(attend_mma_cu::attend_mma_f8_##dim, CACHE_F8, __VA_ARGS__)

static void check_decode_attend(int len, int heads, int cached, int head_dim) {
    auto run = [=](auto kernel, int format) {
        Cache keys(format, cached, len + 3, head_dim), values(format, cached, len + 3, head_dim);
        std::vector<float> queries = noises(heads * head_dim), output(queries.size());
        float scale = 3 / std::sqrt((float)head_dim);
        int state[2] = {0, len - 1};
        const unsigned splits = 32;
        std::vector<float> partial(heads * splits * (head_dim + 2), NAN);
        std::vector<uint32_t> finished(heads);
        launch(
            kernel, {(unsigned)heads, splits, 1}, 128, output.data(), queries.data(), keys.place(), values.place(),
            partial.data(), finished.data(), state, heads, cached, head_dim, keys.capacity, scale);
        for (int head = 0; head < heads; head++) {
            std::vector<double> expected = attended(&queries[head * head_dim], keys, values, head / (heads / cached), len);
            for (int dim = 0; dim < head_dim; dim++) {
                check("decode_attend of " + std::to_string(len), dim, output[head * head_dim + dim], expected[dim], 1e-5);
            }
            check("finished", head, finished[head], 0, 0);
        }
    };
    EACH_CACHE(run, decode_attend_cu::decode_attend);
}

// The likeliest token, which may be anywhere, be there twice, or be none that can be chosen.
static void check_decode_choose() {
    int count = 1301, choosable = 1290;
    for (int best : {0, 255, 700, 1289}) {
        for (int broken : {-1, 3, 1300}) {
            std::vector<float> logits = noises(count), partial(3 * 5, NAN);
            logits[best] = 2;
            if (best < 1200) logits[best + 77] = 2;
            logits[1295] = 3;
            if (broken == 3) logits[broken] = NAN;
            if (broken > 3) logits[broken] = INFINITY;
            int chosen = 7, state[2] = {9, 41};
            uint32_t finished = 0;
            launch(
                decode_choose_cu::decode_choose, {5, 1, 1}, 256, &chosen, state, logits.data(), partial.data(), &finished, count,
                choosable);
            check("decode_choose", best, chosen, broken < 0 ? best : -1, 0);
            check("decode_choose token", best, state[0], broken < 0 ? best : 0, 0);
            check("decode_choose position", best, state[1], 42, 0);
            check("decode_choose counter", best, finished, 0, 0);
        }
    }
}

// Sequences of several lengths, each with a new position.
static void check_attend_each(int heads, int cached, int head_dim) {
    std::vector<int> lens = {0, 1, 127, 128, 300};
    size_t count = lens.size(), row = (size_t)cached * head_dim;
    std::vector<float> queries = noises(count * heads * head_dim), new_keys = noises(count * row);
    std::vector<float> new_values = noises(count * row);
    float scale = 3 / std::sqrt((float)head_dim);
    auto run = [&](auto kernel, int format) {
        std::vector<Cache> keys, values;
        std::vector<attend_each_cu::Sequence> sequences;
        for (int len : lens) {
            keys.emplace_back(format, cached, len + 3, head_dim);
            values.emplace_back(format, cached, len + 3, head_dim);
        }
        for (size_t at = 0; at < count; at++) {
            sequences.push_back({keys[at].place(), values[at].place(), lens[at], lens[at] + 3});
        }
        std::vector<float> output(queries.size());
        Index grid = {(unsigned)cached, (unsigned)count, 1};
        launch(
            kernel, grid, 128, output.data(), queries.data(), new_keys.data(), new_values.data(), sequences.data(), heads,
            cached, head_dim, scale);
        for (size_t at = 0; at < count; at++) {
            for (int head = 0; head < cached; head++) {
                for (int dim = 0; dim < head_dim; dim++) {
                    size_t from = at * row + head * head_dim + dim;
                    size_t to = ((size_t)head * keys[at].capacity + lens[at]) * head_dim + dim;
                    keys[at].singles[to] = keys[at].read(to);
                    values[at].singles[to] = values[at].read(to);
                    check("attend_each key", at, keys[at].singles[to], rounded_as(format, new_keys[from]), 0);
                    check("attend_each value", at, values[at].singles[to], rounded_as(format, new_values[from]), 0);
                }
            }
            for (int head = 0; head < heads; head++) {
                const float* query = &queries[(at * heads + head) * head_dim];
                std::vector<double> expected = attended(query, keys[at], values[at], head / (heads / cached), lens[at] + 1);
                for (int dim = 0; dim < head_dim; dim++) {
                    size_t place = (at * heads + head) * head_dim + dim;
                    check("attend_each of " + std::to_string(lens[at]), dim, output[place], expected[dim], 1e-5);
                }
            }
        }
    };
    EACH_CACHE(run, attend_each_cu::attend_each);
}

static void check_append() {
    auto run = [](auto kernel, int format) {
        int heads = 3, head_dim = 8, capacity = 11, positions = 4, start = 5;
        std::vector<float> keys = noises(positions * heads * head_dim), values = noises(keys.size());
        Cache key_cache(format, heads, capacity, head_dim), value_cache(format, heads, capacity, head_dim);
        launch(
            kernel, {1, 1, 1}, 128, key_cache.place(), value_cache.place(), keys.data(), values.data(), start, positions,
            heads, head_dim, capacity);
        for (size_t at = 0; at < keys.size(); at++) {
            int position = at / (heads * head_dim), head = at / head_dim % heads, dim = at % head_dim;
            size_t to = (head * capacity + start + position) * head_dim + dim;
            check("append keys", at, key_cache.read(to), rounded_as(format, keys[at]), 0);
            check("append values", at, value_cache.read(to), rounded_as(format, values[at]), 0);
        }
    };
    EACH_CACHE(run, append_cu::append);
}

// One layer's projections, with and without heads that are normalized afterwards.
static void check_decode_qkv() {
    auto run = [](auto kernel, int format) {
        int hidden = 256, heads = 4, cached = 2, head_dim = 16, pairs = 3, capacity = 7, position = 4;
        Matrix query(format, heads * head_dim, hidden), key(format, cached * head_dim, hidden);
        Matrix value(format, cached * head_dim, hidden);
        std::vector<float> residual = noises(hidden), norm_weight = noises(hidden), norm_bias = noises(hidden);
        std::vector<float> query_bias = noises(query.rows), value_bias = noises(value.rows);
        std::vector<float> cos = noises(capacity * pairs), sin = noises(capacity * pairs);
        int state[2] = {0, position};
        std::vector<float> n = normalized(residual, norm_weight.data(), norm_bias.data(), hidden);
        for (int mode = 0; mode <= CACHE_FORMATS; mode++) {
            bool raw = mode == CACHE_FORMATS;
            int cache_format = raw ? CACHE_F32 : mode;
            std::vector<float> queries(query.rows), raw_keys(key.rows);
            Cache key_cache(cache_format, cached, capacity, head_dim), value_cache(cache_format, cached, capacity, head_dim);
            decode_qkv_cu::Projections pointers = {
                residual.data(), norm_weight.data(), norm_bias.data(), query_bias.data(), nullptr, value_bias.data(),
                cos.data(), sin.data(), state, queries.data(), raw ? raw_keys.data() : nullptr, key_cache.place(),
                value_cache.place()};
            // In two launches, as where formats differ.
            for (int first : {0, heads}) {
                int last = first == 0 ? heads : heads + 2 * cached;
                launch(
                    kernel, {2, 1, 1}, 64, query.as<decode_qkv_cu::Weight>(), key.as<decode_qkv_cu::Weight>(),
                    value.as<decode_qkv_cu::Weight>(), pointers, hidden, heads, cached, head_dim, pairs, capacity,
                    cache_format, first, last, 1e-5f);
            }
            auto turned = [&](const Matrix& matrix, const float* bias, int row, bool turns) {
                auto sum = [&](int row) { return matrix.dot(row, n.data()) + (bias ? bias[row] : 0); };
                int dim = row % head_dim, pair = dim % pairs;
                double c = cos[position * pairs + pair], s = sin[position * pairs + pair];
                if (!turns || dim >= 2 * pairs) return sum(row);
                return dim < pairs ? sum(row) * c - sum(row + pairs) * s : sum(row) * c + sum(row - pairs) * s;
            };
            double allowed = 1e-4 + rounding_as(cache_format);
            std::string what = std::string("decode_qkv_") + NAMES[format];
            for (int row = 0; row < query.rows; row++) {
                check(what + " query", row, queries[row], turned(query, query_bias.data(), row, !raw), 1e-4);
            }
            for (int row = 0; row < key.rows; row++) {
                size_t to = ((size_t)(row / head_dim) * capacity + position) * head_dim + row % head_dim;
                float found_key = raw ? raw_keys[row] : key_cache.read(to);
                check(what + " key", row, found_key, turned(key, nullptr, row, !raw), allowed);
                check(what + " value", row, value_cache.read(to), turned(value, value_bias.data(), row, false), allowed);
            }
        }
    };
    EACH_FORMAT(run, decode_qkv_cu::decode_qkv);
}

static void check_decode_head_norm(int format) {
    int heads = 4, cached = 2, head_dim = 24, pairs = 3, capacity = 5, position = 2;
    std::vector<float> queries = noises(heads * head_dim), keys = noises(cached * head_dim);
    std::vector<float> query_norm = noises(queries.size()), key_norm = noises(keys.size());
    std::vector<float> cos = noises(capacity * pairs), sin = noises(capacity * pairs);
    std::vector<float> found = queries;
    Cache key_cache(format, cached, capacity, head_dim);
    int state[2] = {0, position};
    launch(
        decode_head_norm_cu::decode_head_norm, {(unsigned)(heads + cached), 1, 1}, 64, found.data(), keys.data(),
        key_cache.place(), query_norm.data(), key_norm.data(), cos.data(), sin.data(), state, heads, head_dim, pairs,
        capacity, format, 1e-5f);
    auto turned = [&](const std::vector<float>& n, size_t at) {
        int dim = at % head_dim, pair = dim % pairs;
        double c = cos[position * pairs + pair], s = sin[position * pairs + pair];
        if (dim >= 2 * pairs) return (double)n[at];
        return dim < pairs ? n[at] * c - n[at + pairs] * s : n[at] * c + n[at - pairs] * s;
    };
    std::vector<float> n = normalized(queries, query_norm.data(), nullptr, head_dim);
    for (size_t at = 0; at < n.size(); at++) check("decode_head_norm query", at, found[at], turned(n, at), 1e-5);
    n = normalized(keys, key_norm.data(), nullptr, head_dim);
    for (size_t at = 0; at < n.size(); at++) {
        size_t to = (at / head_dim * capacity + position) * head_dim + at % head_dim;
        check("decode_head_norm key", at, key_cache.read(to), turned(n, at), 1e-5 + rounding_as(format));
    }
}

static void check_decode_matrices() {
    auto project = [](auto kernel, int format) {
        Matrix matrix(format, 7, 768);
        std::vector<float> x = noises(768), bias = noises(7), residual = noises(7), found = residual;
        launch(kernel, {2, 1, 1}, 64, found.data(), matrix.as<decode_project_cu::Weight>(), x.data(), bias.data(), 7, 768);
        for (int row = 0; row < 7; row++) {
            double expected = residual[row] + bias[row] + matrix.dot(row, x.data());
            check(std::string("decode_project_") + NAMES[format], row, found[row], expected, 3e-5);
        }
    };
    EACH_FORMAT(project, decode_project_cu::decode_project);
    auto gate_up = [](auto kernel, int format) {
        Matrix gate(format, 7, 256), up(format, 7, 256);
        std::vector<float> residual = noises(256), weight = noises(256), bias = noises(256), found(7);
        std::vector<float> gate_bias = noises(7), n = normalized(residual, weight.data(), bias.data(), 256);
        launch(
            kernel, {2, 1, 1}, 64, found.data(), residual.data(), weight.data(), bias.data(),
            gate.as<decode_gate_up_cu::Weight>(), up.as<decode_gate_up_cu::Weight>(), gate_bias.data(), nullptr, 256, 7, 0,
            1e-5f);
        for (int row = 0; row < 7; row++) {
            double expected = nonlinear(gate.dot(row, n.data()) + gate_bias[row], 0) * up.dot(row, n.data());
            check(std::string("decode_gate_up_") + NAMES[format], row, found[row], expected, 1e-4);
        }
    };
    EACH_FORMAT(gate_up, decode_gate_up_cu::decode_gate_up);
    auto up = [](auto kernel, int format) {
        for (int kind : {-1, 1}) {
            Matrix matrix(format, 7, 256);
            std::vector<float> residual = noises(256), weight = noises(256), bias = noises(7), found(7);
            std::vector<float> n = normalized(residual, weight.data(), nullptr, 256);
            launch(
                kernel, {2, 1, 1}, 64, found.data(), residual.data(), weight.data(), nullptr,
                matrix.as<decode_up_cu::Weight>(), kind < 0 ? nullptr : bias.data(), 256, 7, kind, 1e-5f);
            for (int row = 0; row < 7; row++) {
                double expected = nonlinear(matrix.dot(row, n.data()) + (kind < 0 ? 0 : bias[row]), kind);
                check(std::string("decode_up_") + NAMES[format], row, found[row], expected, 1e-4);
            }
        }
    };
    EACH_FORMAT(up, decode_up_cu::decode_up);
}

// Of `checks_many.cpp`.
static void check_many();

static void check_all() {
    check_values();
    check_products();
    check_f8();
    check_append();
    EACH_ATTEND(64, 20, 37, 4, 2, 20);
    EACH_ATTEND(80, 33, 0, 2, 2, 80);
    EACH_ATTEND(128, 17, 40, 2, 1, 100);
    EACH_ATTEND(160, 2, 30, 1, 1, 136);
    EACH_ATTEND(224, 1, 64, 2, 1, 168);
    EACH_ATTEND_MMA(64, 70, 37, 2, 1, 64);
    EACH_ATTEND_MMA(80, 16, 0, 2, 2, 80);
    EACH_ATTEND_MMA(128, 20, 130, 1, 1, 128);
    EACH_ATTEND_MMA(160, 33, 64, 2, 1, 160);
    for (int len : {1, 100, 128, 129, 300, 4200}) check_decode_attend(len, 2, 1, len < 300 ? 8 : 80);
    check_decode_attend(600, 4, 2, 160);
    check_decode_choose();
    check_attend_each(4, 2, 80);
    check_attend_each(2, 2, 8);
    check_attend_each(4, 1, 160);
    check_decode_qkv();
    for (int format = 0; format < CACHE_FORMATS; format++) check_decode_head_norm(format);
    check_decode_matrices();
    check_many();
}

int main() {
    check_all();
    backwards = true;
    check_all();
    printf("%d numbers compared, %d wrong\n", compared, failures);
    return failures != 0;
}
