// As much of NVIDIA's driver as the command calls, without a device: kernels are run by `cuda_on_cpu.h`.
//
// It does what the driver promises and no more, so that what rests on luck shows:
// - Work waits on its stream until somebody waits for it (see `Order`).
// - Memory ends where a page begins that nobody may touch, is full of NaN at first, and is out of reach before the stream
//   has come to where it was taken and after it has come to where it was given back. Whoever touches it ends the process,
//   with a message that says which kernel it was.
// - Pageable memory is read when a copy to the device is queued, pinned memory when it runs; copies to the host are
//   written when they run.
// - What a launch asks for is held against the PTX: that the kernel is there, what it takes, threads and shared memory.
// - A kernel that is launched to begin early sees NaN in place of what the kernels before it have written, until it has
//   waited for them.
// The table of kernels is put after this file, see `emulate_driver.py`.

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdarg>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>

#define EXPORT extern "C" __attribute__((visibility("default")))

enum Result {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    INVALID_PTX = 218,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    NOT_READY = 600,
    LAUNCH_OUT_OF_RESOURCES = 701,
    NOT_SUPPORTED = 801,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901,
    CAPTURE_UNMATCHED = 903,
    CAPTURE_ISOLATION = 905,
    CAPTURED_EVENT = 907,
};

// Everything happens under it: host threads take turns.
static std::recursive_mutex mutex;

// Says what was wrong, and returns it.
__attribute__((format(printf, 2, 3))) static Result fail(Result result, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char text[512];
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "CUDA stand-in: error %d: %s\n", result, text);
    return result;
}

// When queued work runs: as late as it may, after all that waits on other streams, or at once. A program is right when
// all three give the same.
enum Order { LATE, OTHERS_FIRST, AT_ONCE };
static Order order = LATE;

// ---- What has happened, for tests to look at.

static struct {
    uint64_t launches, early_launches, graph_launches, launches_in_graphs, copies, products, taken, leaked;
} counted;
static std::map<std::string, uint64_t> launches_of;

struct Reporter {
    ~Reporter() {
        const char* path = getenv("CUDA_STAND_IN_REPORT");
        if (!path || !launches_of.size()) return;
        std::string line = "{";
        auto add = [&](const std::string& name, uint64_t count) {
            line += (line.size() > 1 && line.back() != '{' ? ", \"" : "\"") + name + "\": " + std::to_string(count);
        };
        add("launches", counted.launches);
        add("early_launches", counted.early_launches);
        add("graph_launches", counted.graph_launches);
        add("launches_in_graphs", counted.launches_in_graphs);
        add("copies", counted.copies);
        add("products", counted.products);
        add("taken", counted.taken);
        add("leaked", counted.leaked);
        line += ", \"kernels\": {";
        for (auto& [name, count] : launches_of) add(name, count);
        line += "}}\n";
        int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0666);
        if (file < 0 || write(file, line.data(), line.size()) < 0) perror(path);
        if (file >= 0) close(file);
    }
};
static Reporter reporter;

// ---- Memory.

static const size_t PAGE = 4096;

static size_t rounded(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

// A piece of memory in pages of its own, with one after it that nobody may touch.
struct Memory {
    size_t bytes;
    bool is_pinned;
    // When its stream has come to where it was taken, and to where it was given back; given back is what the host has said.
    bool is_here, is_gone, is_given_back;
    char* pages;

    size_t page_bytes() const { return rounded(bytes, PAGE); }
};

// By address, those that are gone too: addresses are not used twice.
static std::map<uintptr_t, Memory> memories;
static uint64_t memory_limit = 8ull << 30, memory_used = 0;

// Whether launches that may begin early do.
static bool overlaps = true;

static Memory* memory_of(uint64_t address) {
    auto after = memories.upper_bound(address);
    if (after == memories.begin()) return nullptr;
    auto found = std::prev(after);
    // One past the end is enough for pieces without length.
    return address <= found->first + found->second.bytes ? &found->second : nullptr;
}

static uint64_t take_memory(size_t bytes, bool is_pinned) {
    size_t pages = rounded(bytes, PAGE);
    char* room = (char*)mmap(nullptr, pages + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) return 0;
    uint64_t address = (uint64_t)(room + PAGE + pages - rounded(bytes, 16));
    memories[address] = {bytes, is_pinned, false, false, false, room + PAGE};
    return address;
}

static void bring(uint64_t address) {
    Memory& memory = memories.at(address);
    mprotect(memory.pages, memory.page_bytes(), PROT_READ | PROT_WRITE);
    memset((void*)address, 0xff, rounded(memory.bytes, 16));
    memory.is_here = true;
}

static void remove(uint64_t address) {
    Memory& memory = memories.at(address);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    mmap(memory.pages, memory.page_bytes(), PROT_NONE, flags, -1, 0);
    memory.is_gone = true;
}

// Whether there is so much device memory at an address, as far as the host knows.
static bool is_device(uint64_t address, size_t bytes, const char* what) {
    Memory* memory = memory_of(address);
    if (!memory || memory->is_pinned || memory->is_given_back) {
        fail(INVALID_VALUE, "%s: %#llx is not device memory", what, (unsigned long long)address);
        return false;
    }
    uint64_t end = (uint64_t)memory->pages + memory->page_bytes();
    uint64_t start = end - rounded(memory->bytes, 16);
    if (address + bytes <= start + memory->bytes) return true;
    fail(INVALID_VALUE, "%s: %zu bytes at %llu of %zu", what, bytes, (unsigned long long)(address - start), memory->bytes);
    return false;
}

// ---- Streams: work in order.

struct Work {
    const char* what;
    // Of a kernel: whether it begins before those that it follows have ended.
    bool is_kernel, is_early;
    std::function<void()> run;
};

struct Graph {
    std::vector<Work> work;
};

struct Stream {
    std::deque<Work> queue;
    uint64_t num_queued = 0, num_done = 0;
    bool is_destroyed = false, is_busy = false;
    // While it is captured.
    std::shared_ptr<Graph> capture;
    bool is_invalid = false;
    int capture_mode = 0;
    std::thread::id capture_thread;
};

struct Event {
    std::shared_ptr<Stream> stream;
    uint64_t position;
    bool is_captured;
};

static std::vector<std::shared_ptr<Stream>> streams;
static Stream default_stream;
static std::set<Event*> events;

// What runs, for messages.
static const char* running = nullptr;
static std::thread::id running_on;

// What the kernels have written that the next one may not see before it has waited for them, and memory as it was. By where
// it begins, so that what several of them have written is hidden once.
static std::map<uint64_t, size_t> written;
static std::map<uint64_t, std::vector<char>> snapshot;

// Larger pieces are weights, which no kernel writes.
static const size_t MOST_WATCHED = 1 << 20;

static void take_snapshot() {
    snapshot.clear();
    for (auto& [address, memory] : memories) {
        if (memory.is_pinned || !memory.is_here || memory.is_gone || memory.bytes > MOST_WATCHED) continue;
        snapshot[address].assign((char*)address, (char*)address + memory.bytes);
    }
}

static void note_written() {
    for (auto& [address, before] : snapshot) {
        const char* now = (const char*)address;
        for (size_t at = 0; at < before.size();) {
            if (now[at] == before[at]) {
                at++;
                continue;
            }
            // Numbers that stay as they are among others that change count as written.
            size_t start = at / 64 * 64, end = std::min(start + 64, before.size());
            written[address + start] = end - start;
            at = end;
        }
    }
    snapshot.clear();
}

// Runs one piece of work; `next` is what comes after it, if that is known.
static void run(Work& work, const Work* next) {
    const char* outer = running;
    running = work.what;
    running_on = std::this_thread::get_id();
    if (!work.is_early) written.clear();
    bool is_watched = work.is_kernel && next && next->is_early;
    if (is_watched) take_snapshot();
    work.run();
    if (is_watched) note_written();
    else written.clear();
    running = outer;
}

static void drain(Stream& stream, uint64_t position) {
    while (stream.num_done < position && !stream.is_busy) {
        Work work = std::move(stream.queue.front());
        stream.queue.pop_front();
        stream.is_busy = true;
        run(work, stream.queue.empty() ? nullptr : &stream.queue.front());
        stream.is_busy = false;
        stream.num_done++;
    }
}

static void drain_others(const Stream* stream) {
    for (size_t at = 0; at < streams.size(); at++) {
        std::shared_ptr<Stream> other = streams[at];
        if (other.get() != stream) drain(*other, other->num_queued);
    }
    if (&default_stream != stream) drain(default_stream, default_stream.num_queued);
}

static void wait_for_stream(Stream& stream, uint64_t position) {
    if (order == OTHERS_FIRST && stream.num_done < position) drain_others(&stream);
    drain(stream, position);
}

static void wait_for_all() {
    drain_others(nullptr);
    streams.erase(
        std::remove_if(streams.begin(), streams.end(), [](auto& stream) { return stream->is_destroyed; }), streams.end());
}

static Result queue(Stream& stream, Work work) {
    if (stream.capture) {
        if (stream.is_invalid) return fail(CAPTURE_INVALIDATED, "%s: the capture is invalid", work.what);
        stream.capture->work.push_back(std::move(work));
        return SUCCESS;
    }
    stream.queue.push_back(std::move(work));
    stream.num_queued++;
    if (order == AT_ONCE) drain(stream, stream.num_queued);
    return SUCCESS;
}

// ---- What is asked of every call.

struct Context {};
static Context context;
static int context_users = 0;
static bool is_initialized = false;
static thread_local Context* current_context = nullptr;

static Result find_stream(void* handle, Stream** found, const char* what) {
    if (!current_context || !context_users) return fail(INVALID_CONTEXT, "%s: this thread has no context", what);
    *found = handle ? nullptr : &default_stream;
    for (auto& stream : streams) {
        if (stream.get() == handle && !stream->is_destroyed) *found = stream.get();
    }
    return *found ? SUCCESS : fail(INVALID_HANDLE, "%s: no such stream", what);
}

static std::shared_ptr<Stream> shared(Stream* found) {
    for (auto& stream : streams) {
        if (stream.get() == found) return stream;
    }
    return {&default_stream, [](Stream*) {}};
}

static Result find_event(void* handle, Event** found, const char* what) {
    if (!current_context || !context_users) return fail(INVALID_CONTEXT, "%s: this thread has no context", what);
    *found = (Event*)handle;
    return events.count(*found) ? SUCCESS : fail(INVALID_HANDLE, "%s: no such event", what);
}

// What a capture forbids: calls that wait for the device or may, by the thread that captures; by any for a global capture.
static Result check_unsafe(const char* what) {
    if (!current_context || !context_users) return fail(INVALID_CONTEXT, "%s: this thread has no context", what);
    Result result = SUCCESS;
    for (auto& stream : streams) {
        bool is_forbidden = stream->capture_mode == 0 || stream->capture_thread == std::this_thread::get_id();
        if (!stream->capture || stream->capture_mode == 2 || !is_forbidden) continue;
        stream->is_invalid = true;
        result = fail(CAPTURE_UNSUPPORTED, "%s while a stream is captured", what);
    }
    return result;
}

#define CHECK(call)                              \
    do {                                         \
        Result result = (call);                  \
        if (result != SUCCESS) return result;    \
    } while (false)
#define LOCK std::lock_guard<std::recursive_mutex> lock(mutex)

// ---- Messages for memory that is touched where it must not be.

static struct sigaction faults_before[2];

static void on_fault(int number, siginfo_t* info, void*) {
    char text[512];
    uint64_t address = (uint64_t)info->si_addr;
    auto after = memories.upper_bound(address + PAGE);
    int len = 0;
    for (int step = 0; step < 2 && after != memories.begin() && !len; step++) {
        auto& [start, memory] = *--after;
        uint64_t pages = (uint64_t)memory.pages;
        if (address < pages - PAGE || address >= pages + memory.page_bytes() + PAGE) continue;
        const char* state = memory.is_gone ? ", which has been given back"
            : !memory.is_here              ? ", which is not there yet: its stream has not come to where it was taken"
                                           : "";
        len = snprintf(
            text, sizeof text, "CUDA stand-in: %s%s touches byte %lld of %zu bytes of %s memory%s (block %u, %u, thread %u)\n",
            running ? "" : "the host, or ", running ? running : "work", (long long)(address - start), memory.bytes,
            memory.is_pinned ? "pinned" : "device", state, block_index.x, block_index.y, current ? current->index.x : 0);
    }
    if (!len && running && running_on == std::this_thread::get_id()) {
        len = snprintf(
            text, sizeof text, "CUDA stand-in: %s touches %#llx, which is no memory (block %u, %u, thread %u)\n", running,
            (unsigned long long)address, block_index.x, block_index.y, current ? current->index.x : 0);
    }
    if (len && write(2, text, len) < 0) _exit(1);
    // Whoever was asked before is asked again; the instruction faults once more.
    sigaction(number, &faults_before[number == SIGBUS], nullptr);
}

static void initialize() {
    if (is_initialized) return;
    is_initialized = true;
    const char* asked = getenv("CUDA_STAND_IN_ORDER");
    if (asked && !strcmp(asked, "others-first")) order = OTHERS_FIRST;
    if (asked && !strcmp(asked, "at-once")) order = AT_ONCE;
    if (const char* limit = getenv("CUDA_STAND_IN_MEMORY")) memory_limit = strtoull(limit, nullptr, 10);
    backwards = getenv("CUDA_STAND_IN_BACKWARDS") != nullptr;
    const char* overlap = getenv("CUDA_STAND_IN_OVERLAP");
    overlaps = !overlap || strcmp(overlap, "0");
    // Shared memory ends where a page begins that nobody may touch.
    char* room = (char*)mmap(nullptr, MOST_SHARED + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(room + MOST_SHARED, PAGE, PROT_NONE);
    shared_room = room;
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &faults_before[0]);
    sigaction(SIGBUS, &action, &faults_before[1]);
}

// ---- Device and context.

EXPORT int cuInit(unsigned) {
    LOCK;
    initialize();
    return SUCCESS;
}
EXPORT int cuDriverGetVersion(int* version) {
    *version = 12080;
    return SUCCESS;
}
EXPORT int cuDeviceGetCount(int* count) {
    LOCK;
    *count = 1;
    return is_initialized ? SUCCESS : fail(NOT_INITIALIZED, "cuDeviceGetCount before cuInit");
}
EXPORT int cuDeviceGet(int* device, int ordinal) {
    *device = 0;
    return ordinal == 0 ? SUCCESS : INVALID_DEVICE;
}
EXPORT int cuDeviceGetName(char* name, int len, int) {
    snprintf(name, len, "stand-in");
    return SUCCESS;
}
EXPORT int cuDeviceTotalMem_v2(size_t* bytes, int) {
    *bytes = memory_limit;
    return SUCCESS;
}
EXPORT int cuDeviceGetAttribute(int* value, int attribute, int) {
    // Three multiprocessors: grids are small, and of more than one block.
    static const std::map<int, int> ATTRIBUTES = {
        {1, 1024},       // threads of a block
        {8, 48 << 10},   // shared memory of a block
        {10, 32},        // threads of a warp
        {16, 3},         // multiprocessors
        {38, 4 << 20},   // second level cache
        {39, 2048},      // threads of a multiprocessor
        {75, 9},         // compute capability
        {76, 0},
        {81, 228 << 10}, // shared memory of a multiprocessor
        {97, 227 << 10}, // shared memory of a block that asks for it
        {115, 1},        // memory pools
    };
    auto found = ATTRIBUTES.find(attribute);
    if (found == ATTRIBUTES.end()) return fail(NOT_SUPPORTED, "attribute %d is not known here", attribute);
    *value = found->second;
    return SUCCESS;
}
EXPORT int cuDevicePrimaryCtxRetain(void** handle, int) {
    LOCK;
    if (!is_initialized) return fail(NOT_INITIALIZED, "cuDevicePrimaryCtxRetain before cuInit");
    context_users++;
    *handle = &context;
    return SUCCESS;
}
EXPORT int cuDevicePrimaryCtxRelease_v2(int) {
    LOCK;
    if (context_users == 0) return fail(INVALID_CONTEXT, "a context is given back that nobody has");
    if (--context_users > 0) return SUCCESS;
    // What still waits would run into memory that is gone, if it does.
    wait_for_all();
    streams.clear();
    events.clear();
    for (auto& [address, memory] : memories) {
        if (memory.is_given_back || memory.is_pinned) continue;
        counted.leaked++;
        memory.is_given_back = true;
        memory_used -= memory.bytes;
        remove(address);
    }
    return SUCCESS;
}
EXPORT int cuCtxGetCurrent(void** handle) {
    *handle = current_context;
    return SUCCESS;
}
EXPORT int cuCtxSetCurrent(void* handle) {
    current_context = (Context*)handle;
    return SUCCESS;
}
EXPORT int cuCtxSynchronize() {
    LOCK;
    CHECK(check_unsafe("cuCtxSynchronize"));
    wait_for_all();
    return SUCCESS;
}
EXPORT int cuMemGetInfo_v2(size_t* free, size_t* total) {
    LOCK;
    *total = memory_limit;
    *free = memory_limit - memory_used;
    return SUCCESS;
}
EXPORT int cuDeviceGetDefaultMemPool(void** pool, int) {
    *pool = &memories;
    return SUCCESS;
}
EXPORT int cuMemPoolSetAttribute(void* pool, int attribute, void* value) {
    // The least bytes that are kept, all of them.
    return pool == &memories && attribute == 4 && *(uint64_t*)value ? SUCCESS : fail(INVALID_VALUE, "attribute of a pool");
}

EXPORT int cuGetErrorName(int result, const char** text) {
    static thread_local char name[32];
    snprintf(name, sizeof name, "CUDA_ERROR_%d", result);
    *text = name;
    return SUCCESS;
}
EXPORT int cuGetErrorString(int result, const char** text) {
    static thread_local char words[64];
    snprintf(words, sizeof words, "the stand-in gave error %d", result);
    *text = words;
    return SUCCESS;
}

// ---- Memory, as it is asked for.

static Result check_room(size_t bytes, const char* what) {
    if (bytes == 0) return fail(INVALID_VALUE, "%s of 0 bytes", what);
    // Programs do run out of memory, and say so themselves.
    return memory_used + bytes > memory_limit ? OUT_OF_MEMORY : SUCCESS;
}

static uint64_t take_device_memory(size_t bytes) {
    uint64_t address = take_memory(bytes, false);
    if (address) memory_used += bytes, counted.taken++;
    return address;
}

static Result give_back(uint64_t address, const char* what) {
    auto found = memories.find(address);
    if (found == memories.end() || found->second.is_given_back || found->second.is_pinned) {
        return fail(INVALID_VALUE, "%s of what was not taken, or was given back before", what);
    }
    found->second.is_given_back = true;
    memory_used -= found->second.bytes;
    return SUCCESS;
}

EXPORT int cuMemAlloc_v2(uint64_t* address, size_t bytes) {
    LOCK;
    CHECK(check_unsafe("cuMemAlloc"));
    CHECK(check_room(bytes, "cuMemAlloc"));
    *address = take_device_memory(bytes);
    if (!*address) return OUT_OF_MEMORY;
    bring(*address);
    return SUCCESS;
}
EXPORT int cuMemFree_v2(uint64_t address) {
    LOCK;
    CHECK(check_unsafe("cuMemFree"));
    CHECK(give_back(address, "cuMemFree"));
    wait_for_all();
    remove(address);
    return SUCCESS;
}
EXPORT int cuMemAllocAsync(uint64_t* address, size_t bytes, void* handle) {
    LOCK;
    Stream* stream;
    CHECK(find_stream(handle, &stream, "cuMemAllocAsync"));
    CHECK(check_room(bytes, "cuMemAllocAsync"));
    if (stream->capture) return fail(CAPTURE_UNSUPPORTED, "memory in graphs is not known here");
    *address = take_device_memory(bytes);
    if (!*address) return OUT_OF_MEMORY;
    return queue(*stream, {"taking memory", false, false, [taken = *address] { bring(taken); }});
}
EXPORT int cuMemFreeAsync(uint64_t address, void* handle) {
    LOCK;
    Stream* stream;
    CHECK(find_stream(handle, &stream, "cuMemFreeAsync"));
    if (stream->capture) return fail(CAPTURE_UNSUPPORTED, "memory in graphs is not known here");
    CHECK(give_back(address, "cuMemFreeAsync"));
    return queue(*stream, {"giving memory back", false, false, [address] {
        if (!memories.at(address).is_here) fail(INVALID_VALUE, "memory is given back before it was there");
        remove(address);
    }});
}
EXPORT int cuMemHostAlloc(void** address, size_t bytes, unsigned) {
    LOCK;
    CHECK(check_unsafe("cuMemHostAlloc"));
    if (bytes == 0) return fail(INVALID_VALUE, "cuMemHostAlloc of 0 bytes");
    uint64_t taken = take_memory(bytes, true);
    if (!taken) return OUT_OF_MEMORY;
    bring(taken);
    *address = (void*)taken;
    return SUCCESS;
}
EXPORT int cuMemFreeHost(void* address) {
    LOCK;
    CHECK(check_unsafe("cuMemFreeHost"));
    auto found = memories.find((uintptr_t)address);
    if (found == memories.end() || !found->second.is_pinned || found->second.is_gone) {
        return fail(INVALID_VALUE, "cuMemFreeHost of what was not taken");
    }
    found->second.is_given_back = true;
    remove((uintptr_t)address);
    return SUCCESS;
}

// ---- Copies.

EXPORT int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void* handle) {
    LOCK;
    Stream* stream;
    CHECK(find_stream(handle, &stream, "cuMemcpyHtoDAsync"));
    if (!is_device(to, bytes, "cuMemcpyHtoDAsync")) return INVALID_VALUE;
    counted.copies++;
    Memory* source = memory_of((uint64_t)from);
    // In a graph the host's memory is read by every launch.
    if ((source && source->is_pinned) || stream->capture) {
        return queue(*stream, {"a copy to the device", false, false, [=] { memcpy((void*)to, from, bytes); }});
    }
    auto copied = std::make_shared<std::vector<char>>((const char*)from, (const char*)from + bytes);
    return queue(*stream, {"a copy to the device", false, false, [=] { memcpy((void*)to, copied->data(), bytes); }});
}
EXPORT int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void* handle) {
    LOCK;
    Stream* stream;
    CHECK(find_stream(handle, &stream, "cuMemcpyDtoHAsync"));
    if (!is_device(from, bytes, "cuMemcpyDtoHAsync")) return INVALID_VALUE;
    counted.copies++;
    return queue(*stream, {"a copy to the host", false, false, [=] { memcpy(to, (void*)from, bytes); }});
}
EXPORT int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void* handle) {
    LOCK;
    Stream* stream;
    CHECK(find_stream(handle, &stream, "cuMemcpyDtoDAsync"));
    if (!is_device(to, bytes, "cuMemcpyDtoDAsync to") || !is_device(from, bytes, "cuMemcpyDtoDAsync from")) {
        return INVALID_VALUE;
    }
    if (to < from + bytes && from < to + bytes) return fail(INVALID_VALUE, "cuMemcpyDtoDAsync of what overlaps");
    counted.copies++;
    return queue(*stream, {"a copy on the device", false, false, [=] { memcpy((void*)to, (void*)from, bytes); }});
}
EXPORT int cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void* handle) {
    LOCK;
    Stream* stream;
    CHECK(find_stream(handle, &stream, "cuMemsetD8Async"));
    if (!is_device(to, bytes, "cuMemsetD8Async")) return INVALID_VALUE;
    return queue(*stream, {"setting bytes", false, false, [=] { memset((void*)to, value, bytes); }});
}

// ---- Streams and events.

EXPORT int cuStreamCreate(void** handle, unsigned flags) {
    LOCK;
    if (!current_context || !context_users) return fail(INVALID_CONTEXT, "cuStreamCreate: this thread has no context");
    if (flags != 1) return fail(NOT_SUPPORTED, "streams that wait for the default stream are not known here");
    streams.push_back(std::make_shared<Stream>());
    *handle = streams.back().get();
    return SUCCESS;
}
EXPORT int cuStreamDestroy_v2(void* handle) {
    LOCK;
    Stream* stream;
    CHECK(find_stream(handle, &stream, "cuStreamDestroy"));
    if (stream->capture) return fail(CAPTURE_UNSUPPORTED, "cuStreamDestroy of a stream that is captured");
    // What is queued still runs some time; who destroys a stream does not wait for it.
    stream->is_destroyed = true;
    return SUCCESS;
}
EXPORT int cuStreamSynchronize(void* handle) {
    LOCK;
    Stream* stream;
    CHECK(find_stream(handle, &stream, "cuStreamSynchronize"));
    CHECK(check_unsafe("cuStreamSynchronize"));
    wait_for_stream(*stream, stream->num_queued);
    return SUCCESS;
}
EXPORT int cuStreamQuery(void* handle) {
    LOCK;
    Stream* stream;
    CHECK(find_stream(handle, &stream, "cuStreamQuery"));
    CHECK(check_unsafe("cuStreamQuery"));
    // Each question brings it one piece of work further.
    drain(*stream, std::min(stream->num_queued, stream->num_done + 1));
    return stream->num_done == stream->num_queued ? SUCCESS : NOT_READY;
}
EXPORT int cuEventCreate(void** handle, unsigned) {
    LOCK;
    if (!current_context || !context_users) return fail(INVALID_CONTEXT, "cuEventCreate: this thread has no context");
    Event* event = new Event{nullptr, 0, false};
    events.insert(event);
    *handle = event;
    return SUCCESS;
}
EXPORT int cuEventDestroy_v2(void* handle) {
    LOCK;
    Event* event;
    CHECK(find_event(handle, &event, "cuEventDestroy"));
    events.erase(event);
    delete event;
    return SUCCESS;
}
EXPORT int cuEventRecord(void* handle, void* stream_handle) {
    LOCK;
    Event* event;
    Stream* stream;
    CHECK(find_event(handle, &event, "cuEventRecord"));
    CHECK(find_stream(stream_handle, &stream, "cuEventRecord"));
    *event = {shared(stream), stream->num_queued, stream->capture != nullptr};
    return SUCCESS;
}
EXPORT int cuEventSynchronize(void* handle) {
    LOCK;
    Event* event;
    CHECK(find_event(handle, &event, "cuEventSynchronize"));
    CHECK(check_unsafe("cuEventSynchronize"));
    if (event->is_captured) return fail(CAPTURED_EVENT, "cuEventSynchronize of an event in a capture");
    if (event->stream) wait_for_stream(*event->stream, event->position);
    return SUCCESS;
}
EXPORT int cuEventQuery(void* handle) {
    LOCK;
    Event* event;
    CHECK(find_event(handle, &event, "cuEventQuery"));
    CHECK(check_unsafe("cuEventQuery"));
    if (event->is_captured) return fail(CAPTURED_EVENT, "cuEventQuery of an event in a capture");
    if (!event->stream) return SUCCESS;
    drain(*event->stream, std::min(event->position, event->stream->num_done + 1));
    return event->stream->num_done >= event->position ? SUCCESS : NOT_READY;
}
EXPORT int cuStreamWaitEvent(void* handle, void* event_handle, unsigned) {
    LOCK;
    Event* event;
    Stream* stream;
    CHECK(find_stream(handle, &stream, "cuStreamWaitEvent"));
    CHECK(find_event(event_handle, &event, "cuStreamWaitEvent"));
    if (!event->stream) return SUCCESS;
    if (event->is_captured != (stream->capture != nullptr)) {
        stream->is_invalid = true;
        return fail(CAPTURE_ISOLATION, "a stream waits for an event, and only one of them is captured");
    }
    if (event->is_captured) {
        if (event->stream.get() == stream) return SUCCESS;
        return fail(CAPTURE_UNSUPPORTED, "captures of several streams are not known here");
    }
    auto before = event->stream;
    return queue(*stream, {"waiting for an event", false, false, [before, position = event->position] {
        drain(*before, position);
    }});
}

// ---- Modules: PTX, of which the kernels' names, parameters and limits are read.

struct Kernel {
    const char* name;
    std::vector<size_t> parameter_bytes;
    std::function<void(void**)> call;
};

static std::map<std::string, Kernel>& kernels();

struct Function {
    const Kernel* kernel;
    unsigned most_threads;
    size_t shared_bytes, most_dynamic_bytes;
    bool is_unloaded;
};

struct Module {
    std::map<std::string, std::unique_ptr<Function>> functions;
};

static std::set<Module*> modules;
// Those of modules that are unloaded too, so that their use is noticed.
static std::map<void*, std::unique_ptr<Function>> unloaded;

// Reads `[24]` of a name as 24, and no brackets as 1.
static size_t count_of(const std::string& declaration) {
    size_t at = declaration.find('[');
    return at == std::string::npos ? 1 : strtoul(declaration.c_str() + at + 1, nullptr, 10);
}

static size_t type_bytes(const std::string& declaration) {
    static const std::map<std::string, size_t> TYPES = {{".b8", 1},  {".u8", 1},  {".s8", 1},  {".b16", 2}, {".u16", 2},
                                                        {".f16", 2}, {".b32", 4}, {".u32", 4}, {".s32", 4}, {".f32", 4},
                                                        {".b64", 8}, {".u64", 8}, {".s64", 8}, {".f64", 8}};
    for (auto& [type, bytes] : TYPES) {
        if (declaration.find(type + " ") != std::string::npos) return bytes;
    }
    return 0;
}

// Reads one `.entry`, from its name on.
static Result read_entry(Module& module, const std::string& text) {
    std::string name = text.substr(0, text.find('('));
    auto found = kernels().find(name);
    if (found == kernels().end()) return fail(INVALID_PTX, "the PTX has a kernel `%s` that was not compiled", name.c_str());
    const Kernel& kernel = found->second;
    std::vector<size_t> parameters;
    auto function = std::make_unique<Function>(Function{&kernel, 1024, 0, 0, false});
    for (size_t start = text.find('('); start != std::string::npos;) {
        size_t end = text.find('\n', start + 1);
        std::string line = text.substr(start + 1, end - start - 1);
        size_t bytes = type_bytes(line) * count_of(line);
        if (line.find("\t.param ") == 0) parameters.push_back(bytes);
        if (line.find("\t.shared ") == 0) function->shared_bytes += rounded(bytes, 16);
        if (line.find(".maxntid ") == 0) function->most_threads = strtoul(line.c_str() + 9, nullptr, 10);
        start = end;
    }
    if (parameters != kernel.parameter_bytes) {
        return fail(INVALID_PTX, "kernel `%s` takes something else in the PTX than in its source", name.c_str());
    }
    module.functions[name] = std::move(function);
    return SUCCESS;
}

EXPORT int cuModuleLoadData(void** handle, const void* image) {
    LOCK;
    CHECK(check_unsafe("cuModuleLoadData"));
    std::string text = (const char*)image;
    // Machine code, which is of no use here.
    if (text.find(".target sm_") == std::string::npos) return INVALID_IMAGE;
    auto module = std::make_unique<Module>();
    const std::string mark = ".visible .entry ";
    for (size_t start = text.find(mark); start != std::string::npos;) {
        start += mark.size();
        size_t end = text.find(mark, start);
        CHECK(read_entry(*module, text.substr(start, end - start)));
        start = end;
    }
    *handle = module.get();
    modules.insert(module.release());
    return SUCCESS;
}
EXPORT int cuModuleUnload(void* handle) {
    LOCK;
    Module* module = (Module*)handle;
    if (!modules.erase(module)) return fail(INVALID_HANDLE, "cuModuleUnload: no such module");
    for (auto& [name, function] : module->functions) {
        function->is_unloaded = true;
        void* key = function.get();
        unloaded[key] = std::move(function);
    }
    delete module;
    return SUCCESS;
}
EXPORT int cuModuleGetFunction(void** handle, void* module_handle, const char* name) {
    LOCK;
    Module* module = (Module*)module_handle;
    if (!modules.count(module)) return fail(INVALID_HANDLE, "cuModuleGetFunction: no such module");
    auto found = module->functions.find(name);
    if (found == module->functions.end()) return fail(NOT_FOUND, "no kernel `%s`", name);
    *handle = found->second.get();
    return SUCCESS;
}
EXPORT int cuFuncSetAttribute(void* handle, int attribute, int value) {
    LOCK;
    // The most shared memory that a launch may ask for.
    if (attribute != 8) return fail(NOT_SUPPORTED, "attribute %d of a function is not known here", attribute);
    ((Function*)handle)->most_dynamic_bytes = value;
    return SUCCESS;
}

// ---- Launches.

// Hides from a kernel that begins early what the kernels before it have written, block after block, until it waits.
struct Hidden {
    std::vector<std::vector<char>> values;
    bool is_hidden = false, has_waited = false;

    void hide() {
        values.clear();
        for (auto [address, bytes] : written) {
            values.emplace_back((char*)address, (char*)address + bytes);
            memset((void*)address, 0xff, bytes);
        }
        is_hidden = true;
    }
    void show() {
        if (!is_hidden) return;
        size_t at = 0;
        for (auto [address, bytes] : written) {
            for (size_t byte = 0; byte < bytes; byte++) {
                if (((unsigned char*)address)[byte] == 0xff) continue;
                fprintf(
                    stderr, "CUDA stand-in: kernel %s writes, before it waits, where others before it have written\n", running);
                exit(1);
            }
            memcpy((void*)address, values[at++].data(), bytes);
        }
        is_hidden = false;
    }
};

static void run_kernel(
    const Kernel& kernel, Index grid, unsigned threads, size_t shared, std::vector<char>& values, bool is_early) {
    std::vector<void*> places;
    size_t at = 0;
    for (size_t bytes : kernel.parameter_bytes) {
        places.push_back(values.data() + at);
        at += rounded(bytes, 16);
    }
    kernel_name = kernel.name;
    Hidden hidden;
    if (is_early) {
        block_begins = [&] { hidden.hide(); };
        block_ends = [&] { hidden.show(); };
        kernels_before = [&] {
            hidden.has_waited = true;
            hidden.show();
        };
    }
    run_grid(grid, threads, shared, [&] { kernel.call(places.data()); });
    if (is_early && !hidden.has_waited) {
        fprintf(stderr, "CUDA stand-in: kernel %s begins early and never waits for those before it\n", kernel.name);
        exit(1);
    }
    block_begins = block_ends = kernels_before = nullptr;
}

static Result launch_kernel(
    void* handle, const unsigned* grid, const unsigned* block, unsigned dynamic, void* stream_handle, void** parameters,
    bool is_early) {
    Stream* stream;
    CHECK(find_stream(stream_handle, &stream, "cuLaunchKernel"));
    if (unloaded.count(handle)) return fail(INVALID_HANDLE, "a kernel is launched whose module is unloaded");
    Function* function = (Function*)handle;
    const Kernel& kernel = *function->kernel;
    const char* name = kernel.name;
    if (!grid[0] || !grid[1] || grid[2] != 1 || grid[0] > 0x7fffffff || grid[1] > 65535) {
        return fail(INVALID_VALUE, "`%s` over a grid of %u, %u, %u", name, grid[0], grid[1], grid[2]);
    }
    if (!block[0] || block[1] != 1 || block[2] != 1 || block[0] > 1024) {
        return fail(INVALID_VALUE, "`%s` in blocks of %u, %u, %u", name, block[0], block[1], block[2]);
    }
    if (block[0] > function->most_threads || block[0] > MOST_THREADS) {
        return fail(LAUNCH_OUT_OF_RESOURCES, "`%s` in blocks of %u, at most %u", name, block[0], function->most_threads);
    }
    size_t most = std::max<size_t>(48 << 10, function->most_dynamic_bytes + function->shared_bytes);
    if (function->shared_bytes + dynamic > most || dynamic > MOST_SHARED) {
        return fail(INVALID_VALUE, "`%s` with %zu and %u bytes of shared memory", name, function->shared_bytes, dynamic);
    }
    if (!parameters) return fail(INVALID_VALUE, "`%s` without parameters", name);
    auto values = std::make_shared<std::vector<char>>();
    for (size_t at = 0; at < kernel.parameter_bytes.size(); at++) {
        size_t bytes = kernel.parameter_bytes[at], start = values->size();
        values->resize(start + rounded(bytes, 16));
        memcpy(values->data() + start, parameters[at], bytes);
    }
    bool is_captured = stream->capture != nullptr;
    Index blocks = {grid[0], grid[1], 1};
    unsigned threads = block[0];
    return queue(*stream, {name, true, is_early, [=, &kernel] {
        (is_captured ? counted.launches_in_graphs : counted.launches)++;
        counted.early_launches += is_early;
        launches_of[name]++;
        run_kernel(kernel, blocks, threads, dynamic, *values, is_early);
    }});
}

EXPORT int cuLaunchKernel(
    void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z,
    unsigned shared, void* stream, void** parameters, void** extra) {
    LOCK;
    if (extra) return fail(NOT_SUPPORTED, "parameters in `extra` are not known here");
    unsigned grid[] = {grid_x, grid_y, grid_z}, block[] = {block_x, block_y, block_z};
    return launch_kernel(function, grid, block, shared, stream, parameters, false);
}

struct LaunchAttribute {
    int id;
    char pad[4];
    union {
        char room[64];
        int value;
    };
};
struct LaunchConfig {
    unsigned grid[3], block[3], shared;
    void* stream;
    LaunchAttribute* attributes;
    unsigned num_attributes;
};

EXPORT int cuLaunchKernelEx(const LaunchConfig* config, void* function, void** parameters, void** extra) {
    LOCK;
    if (extra) return fail(NOT_SUPPORTED, "parameters in `extra` are not known here");
    bool is_early = false;
    for (unsigned at = 0; at < config->num_attributes; at++) {
        const LaunchAttribute& attribute = config->attributes[at];
        // Programmatic stream serialization.
        if (attribute.id != 6) return fail(NOT_SUPPORTED, "attribute %d of a launch is not known here", attribute.id);
        is_early = overlaps && attribute.value != 0;
    }
    return launch_kernel(function, config->grid, config->block, config->shared, config->stream, parameters, is_early);
}

// ---- Graphs.

struct GraphExec {
    std::shared_ptr<Graph> graph;
};
static std::map<void*, std::shared_ptr<Graph>> graphs;
static std::set<GraphExec*> execs;

EXPORT int cuStreamBeginCapture_v2(void* handle, int mode) {
    LOCK;
    Stream* stream;
    CHECK(find_stream(handle, &stream, "cuStreamBeginCapture"));
    if (stream == &default_stream || stream->capture) return fail(CAPTURE_UNSUPPORTED, "cuStreamBeginCapture");
    stream->capture = std::make_shared<Graph>();
    stream->is_invalid = false;
    stream->capture_mode = mode;
    stream->capture_thread = std::this_thread::get_id();
    return SUCCESS;
}
EXPORT int cuStreamEndCapture(void* handle, void** graph) {
    LOCK;
    Stream* stream;
    CHECK(find_stream(handle, &stream, "cuStreamEndCapture"));
    *graph = nullptr;
    if (!stream->capture) return fail(CAPTURE_UNMATCHED, "cuStreamEndCapture without a capture");
    std::shared_ptr<Graph> captured = std::move(stream->capture);
    stream->capture = nullptr;
    if (stream->is_invalid) return fail(CAPTURE_INVALIDATED, "cuStreamEndCapture");
    graphs[captured.get()] = captured;
    *graph = captured.get();
    return SUCCESS;
}
EXPORT int cuStreamIsCapturing(void* handle, int* status) {
    LOCK;
    Stream* stream;
    CHECK(find_stream(handle, &stream, "cuStreamIsCapturing"));
    *status = stream->capture ? 1 + stream->is_invalid : 0;
    return SUCCESS;
}
EXPORT int cuGraphInstantiateWithFlags(void** exec, void* graph, unsigned long long) {
    LOCK;
    auto found = graphs.find(graph);
    if (found == graphs.end()) return fail(INVALID_HANDLE, "cuGraphInstantiate: no such graph");
    GraphExec* made = new GraphExec{found->second};
    execs.insert(made);
    *exec = made;
    return SUCCESS;
}
EXPORT int cuGraphLaunch(void* exec, void* handle) {
    LOCK;
    Stream* stream;
    CHECK(find_stream(handle, &stream, "cuGraphLaunch"));
    if (!execs.count((GraphExec*)exec)) return fail(INVALID_HANDLE, "cuGraphLaunch: no such graph");
    if (stream->capture) return fail(CAPTURE_UNSUPPORTED, "graphs in graphs are not known here");
    auto graph = ((GraphExec*)exec)->graph;
    return queue(*stream, {"a graph", false, false, [graph] {
        counted.graph_launches++;
        for (size_t at = 0; at < graph->work.size(); at++) {
            run(graph->work[at], at + 1 < graph->work.size() ? &graph->work[at + 1] : nullptr);
        }
    }});
}
EXPORT int cuGraphUpload(void*, void*) { return SUCCESS; }
EXPORT int cuGraphExecDestroy(void* exec) {
    LOCK;
    if (!execs.erase((GraphExec*)exec)) return fail(INVALID_HANDLE, "cuGraphExecDestroy: no such graph");
    delete (GraphExec*)exec;
    return SUCCESS;
}
EXPORT int cuGraphDestroy(void* graph) {
    LOCK;
    return graphs.erase(graph) ? SUCCESS : fail(INVALID_HANDLE, "cuGraphDestroy: no such graph");
}

// ---- For `blas.cpp`.

EXPORT int stand_in_queue(void* handle, const char* what, void (*run)(void*), void* argument) {
    LOCK;
    Stream* stream;
    CHECK(find_stream(handle, &stream, what));
    return queue(*stream, {what, false, false, [=] {
        counted.products++;
        run(argument);
    }});
}
// Returns how far an address is from where its memory begins, or -1 where there are not so many bytes from there on.
EXPORT long long stand_in_offset(uint64_t address, size_t bytes) {
    LOCK;
    if (!is_device(address, bytes, "cuBLASLt")) return -1;
    return address - std::prev(memories.upper_bound(address))->first;
}

// ---- The table of kernels.

template <class... Parameters, size_t... AT>
static void call_with(void (*kernel)(Parameters...), void** values, std::index_sequence<AT...>) {
    kernel(*(std::remove_cv_t<Parameters>*)values[AT]...);
}
template <class... Parameters> static Kernel made_kernel(const char* name, void (*kernel)(Parameters...)) {
    auto call = [kernel](void** values) { call_with(kernel, values, std::index_sequence_for<Parameters...>{}); };
    return {name, {sizeof(Parameters)...}, call};
}
#define KERNEL(space, name) {#name, made_kernel(#name, space::name)},
