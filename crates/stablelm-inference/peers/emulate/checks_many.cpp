// The kernels that decode several sequences, beside plain sums in f64; follows `checks.cpp`.

// The formats of rows, by their numbers in `many_rows.cuh`.
enum RowFormat { ROW_F32, ROW_F16, ROW_BF16, ROW_FORMATS };
static const int ROWS = 16;

// The format that products with a matrix are made in.
static int row_format_of(int format) {
    return format == PLAIN_F32 ? ROW_F32 : format == PLAIN_F16 ? ROW_F16 : ROW_BF16;
}

// How far numbers are rounded at most, relative to them.
static double rounding_of(int row_format) {
    return row_format == ROW_F32 ? 0 : row_format == ROW_F16 ? 1 / 2048.0 : 1 / 256.0;
}

// Rows of activations in a format; those from `sequences` on are of no interest, and not numbers.
struct Activations {
    int format, width;
    std::vector<float> singles;
    std::vector<uint4> room;

    Activations(int format, int sequences, int width) : format(format), width(width) {
        singles = noises((size_t)ROWS * width);
        room.resize(singles.size() / 4 + 1);
        for (size_t at = 0; at < singles.size(); at++) {
            if (at >= (size_t)sequences * width) singles[at] = NAN;
            if (format == ROW_F32) ((float*)place())[at] = singles[at];
            else ((uint16_t*)place())[at] = format == ROW_F16 ? round_half(singles[at]) : round_brain(singles[at]);
            singles[at] = read(at);
        }
    }
    Memory place() { return {room.data()}; }
    float read(size_t at) const {
        if (format == ROW_F32) return ((const float*)room.data())[at];
        uint16_t bits = ((const uint16_t*)room.data())[at];
        return format == ROW_F16 ? widen_half(bits) : widen_brain(bits);
    }
    const float* row(int sequence) const { return &singles[(size_t)sequence * width]; }
};

// How far a sum of products may be off: weights in blocks are rounded to bf16, by half of the last of 8 bits each.
static double allowed_of(int format, const Matrix& matrix, int row, const float* x) {
    double sizes = 0;
    for (int column = 0; column < matrix.columns; column++) {
        sizes += std::fabs((double)matrix.weights[(size_t)row * matrix.columns + column] * x[column]);
    }
    return 1e-5 * std::sqrt(matrix.columns) + (is_block(format) ? sizes / 512 : 0);
}

// Rows of no more than 16 bytes to come, of some turns, and of more turns than one; matrices alone and side by side.
static void check_many_multiply() {
    auto run = [](auto kernel, int format) {
        bool is_nibbles = format == BLOCK_Q4_0 || format == BLOCK_Q4_K;
        for (int columns : {40, 256, is_nibbles ? 4608 : 1536}) {
            if (columns == 40 && is_block(format)) continue;
            for (int sequences : {1, 5, 16}) {
                // Three matrices in one part, and one in two.
                int parts = sequences == 5 ? 2 : 1, others = parts == 2 ? 0 : 1;
                Matrix first(format, 11, columns), second(format, 8, columns), third(format, 3, columns);
                Activations x(row_format_of(format), sequences, columns);
                std::vector<float> bias = noises(11), third_bias = noises(3);
                int width = 11 + 11 * others;
                std::vector<float> output((size_t)parts * ROWS * width, NAN);
                using Weight = many_multiply_cu::Weight;
                launch(
                    kernel, {3, 1, 1}, 256, output.data(), first.as<Weight>(), second.as<Weight>(), third.as<Weight>(),
                    x.place(), bias.data(), nullptr, third_bias.data(), 11, 8 * others, 3 * others, columns, width, parts,
                    -1, ROW_F32, sequences);
                for (int at = 0; at < sequences * width; at++) {
                    int sequence = at / width, row = at % width;
                    const Matrix& matrix = row < 11 ? first : row < 19 ? second : third;
                    int of = row < 11 ? row : row < 19 ? row - 11 : row - 19;
                    double expected = matrix.dot(of, x.row(sequence)), found = 0;
                    if (row < 11) expected += bias[of];
                    if (row >= 19) expected += third_bias[of];
                    for (int part = 0; part < parts; part++) found += output[(size_t)(part * ROWS + sequence) * width + row];
                    double allowed = allowed_of(format, matrix, of, x.row(sequence));
                    check(std::string("many_multiply_") + NAMES[format], at, found, expected, allowed);
                }
            }
        }
    };
    EACH_FORMAT(run, many_multiply_cu::many_multiply);
}

static void check_many_inner() {
    int rows = 19, columns = 512;
    auto compare = [=](const char* what, int format, const Activations& inner, int at, double expected, double allowed) {
        double rounded = rounding_of(inner.format);
        check(std::string(what) + NAMES[format], at, inner.read(at), expected, 2 * allowed + rounded);
    };
    auto gated = [=](auto kernel, int format) {
        for (int sequences : {3, 16}) {
            Matrix gate(format, rows, columns), up(format, rows, columns);
            Activations x(row_format_of(format), sequences, columns), inner(sequences % ROW_FORMATS, 16, rows);
            std::vector<float> bias = noises(rows);
            launch(
                kernel, {2, 1, 1}, 256, inner.place(), x.place(), gate.as<many_inner_cu::Weight>(),
                up.as<many_inner_cu::Weight>(), bias.data(), nullptr, columns, rows, 0, inner.format, sequences);
            for (int at = 0; at < sequences * rows; at++) {
                int row = at % rows;
                const float* of = x.row(at / rows);
                double factor = up.dot(row, of), value = nonlinear(gate.dot(row, of) + bias[row], 0);
                double allowed = allowed_of(format, gate, row, of) * (1 + std::fabs(factor));
                allowed += allowed_of(format, up, row, of) * (1 + std::fabs(value));
                compare("many_inner_", format, inner, at, value * factor, allowed);
            }
        }
    };
    EACH_FORMAT(gated, many_inner_cu::many_inner);
    auto plain = [=](auto kernel, int format) {
        for (int sequences : {2, 9}) {
            Matrix up(format, rows, columns);
            Activations x(row_format_of(format), sequences, columns), inner(sequences % ROW_FORMATS, 16, rows);
            std::vector<float> bias = noises(rows);
            using Weight = many_multiply_cu::Weight;
            launch(
                kernel, {2, 1, 1}, 256, inner.place(), up.as<Weight>(), up.as<Weight>(), up.as<Weight>(), x.place(),
                bias.data(), nullptr, nullptr, rows, 0, 0, columns, rows, 1, 1, inner.format, sequences);
            for (int at = 0; at < sequences * rows; at++) {
                int row = at % rows;
                double expected = nonlinear(up.dot(row, x.row(at / rows)) + bias[row], 1);
                compare("many_multiply with a nonlinearity ", format, inner, at, expected, allowed_of(format, up, row, x.row(at / rows)));
            }
        }
    };
    EACH_FORMAT(plain, many_multiply_cu::many_multiply);
}

static void check_many_normalize() {
    int width = 1044, sequences = 3;
    for (int parts : {0, 1, 3}) {
        std::vector<float> residual = noises(ROWS * width), partial = noises(3 * ROWS * width), weight = noises(width);
        std::vector<float> bias = noises(width), sums = residual, found = residual;
        Activations output(parts % ROW_FORMATS, 16, width);
        launch(
            many_normalize_cu::many_normalize, {(unsigned)sequences, 1, 1}, 256, output.place(), found.data(),
            partial.data(), weight.data(), parts ? bias.data() : nullptr, width, parts, output.format, 1e-5f);
        for (int at = 0; at < ROWS * width; at++) {
            bool is_used = at < sequences * width;
            for (int part = 0; part < parts && is_used; part++) sums[at] += partial[part * ROWS * width + at];
            check("many_normalize residual", at, found[at], sums[at], 0);
        }
        for (int sequence = 0; sequence < sequences; sequence++) {
            std::vector<float> one(sums.begin() + sequence * width, sums.begin() + (sequence + 1) * width);
            std::vector<float> n = normalized(one, weight.data(), parts ? bias.data() : nullptr, width);
            for (int at = 0; at < width; at++) {
                double allowed = 1e-5 + rounding_of(output.format);
                check("many_normalize", at, output.read((size_t)sequence * width + at), n[at], allowed);
            }
        }
    }
}

// Sequences of several lengths; heads normalized and not, shared and not.
static void check_many_attend(int heads, int cached, int head_dim, int splits, bool norms) {
    std::vector<int> lens = {0, 1, 127, 128, 300};
    int count = lens.size(), pairs = head_dim / 8, width = (heads + 2 * cached) * head_dim;
    std::vector<float> projected = noises(count * width), cos = noises(count * pairs), sin = noises(count * pairs);
    std::vector<float> query_norm = noises(heads * head_dim), key_norm = noises(cached * head_dim);
    float scale = 3 / std::sqrt((float)head_dim);
    auto prepared = [&](int row, int from, int head_count, const std::vector<float>& factors) {
        const float* start = &projected[row * width + from];
        std::vector<float> values(start, start + head_count * head_dim), turned;
        if (norms) values = normalized(values, factors.data(), nullptr, head_dim);
        for (int at = 0; at < head_count * head_dim; at++) {
            int dim = at % head_dim, pair = dim % pairs;
            double c = cos[row * pairs + pair], s = sin[row * pairs + pair], value = values[at];
            if (dim < pairs) value = value * c - values[at + pairs] * s;
            else if (dim < 2 * pairs) value = value * c + values[at - pairs] * s;
            turned.push_back(value);
        }
        return turned;
    };
    auto run = [&](auto kernel, int format) {
        std::vector<Cache> keys, values;
        std::vector<many_attend_cu::Sequence> sequences;
        for (int len : lens) {
            keys.emplace_back(format, cached, len + 3, head_dim);
            values.emplace_back(format, cached, len + 3, head_dim);
        }
        for (int at = 0; at < count; at++) {
            sequences.push_back({keys[at].place(), values[at].place(), lens[at], lens[at] + 3});
        }
        Activations output(format % ROW_FORMATS, 16, heads * head_dim);
        std::vector<float> partial((size_t)count * heads * splits * (head_dim + 2), NAN);
        std::vector<uint32_t> finished(count * cached);
        launch(
            kernel, {(unsigned)cached, (unsigned)(count * splits), 1}, 128, output.place(), projected.data(),
            sequences.data(), norms ? query_norm.data() : nullptr, norms ? key_norm.data() : nullptr, cos.data(),
            sin.data(), partial.data(), finished.data(), heads, cached, head_dim, pairs, splits, output.format, scale,
            1e-5f);
        for (uint32_t left : finished) check("many_attend counter", 0, left, 0, 0);
        double allowed = 1e-5 + rounding_as(format);
        for (int row = 0; row < count; row++) {
            std::vector<float> query = prepared(row, 0, heads, query_norm);
            std::vector<float> key = prepared(row, heads * head_dim, cached, key_norm);
            const float* value = &projected[row * width + (heads + cached) * head_dim];
            for (int at = 0; at < cached * head_dim; at++) {
                size_t to = ((size_t)(at / head_dim) * keys[row].capacity + lens[row]) * head_dim + at % head_dim;
                check("many_attend key", at, keys[row].read(to), key[at], allowed);
                check("many_attend value", at, values[row].read(to), rounded_as(format, value[at]), 0);
                keys[row].singles[to] = keys[row].read(to);
                values[row].singles[to] = values[row].read(to);
            }
            for (int head = 0; head < heads; head++) {
                int of = head / (heads / cached);
                std::vector<double> expected =
                    attended(&query[head * head_dim], keys[row], values[row], of, lens[row] + 1);
                for (int dim = 0; dim < head_dim; dim++) {
                    float found = output.read((size_t)(row * heads + head) * head_dim + dim);
                    check("many_attend of " + std::to_string(lens[row]), dim, found, expected[dim],
                        2e-5 + rounding_of(output.format));
                }
            }
        }
    };
    EACH_CACHE(run, many_attend_cu::many_attend);
}

// The likeliest tokens of three sequences, one of which has none.
static void check_many_choose() {
    int count = 1301, chosen[4] = {7, 7, 7, 7};
    std::vector<float> logits = noises(3 * count), partial(3 * 3 * 5, NAN);
    std::vector<uint32_t> finished(3);
    logits[1290] = 2, logits[count + 5] = INFINITY, logits[2 * count + 3] = 2;
    launch(
        decode_choose_cu::decode_choose, {5, 3, 1}, 256, chosen, nullptr, logits.data(), partial.data(), finished.data(),
        count, 1295);
    int expected[4] = {1290, -1, 3, 7};
    for (int at = 0; at < 4; at++) check("decode_choose of several", at, chosen[at], expected[at], 0);
    for (int at = 0; at < 3; at++) check("decode_choose counters", at, finished[at], 0, 0);
}

static void check_many() {
    check_many_choose();
    check_many_multiply();
    check_many_inner();
    check_many_normalize();
    check_many_attend(4, 2, 80, 1, false);
    check_many_attend(2, 2, 8, 4, false);
    check_many_attend(4, 1, 160, 2, true);
}
