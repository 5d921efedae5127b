// A stand-in for libnccl.so.2: NCCL's collectives between processes of one machine, through shared memory.
//
// NCCL needs a GPU for each rank. This needs none of its own: it asks the CUDA driver, whichever that is, to copy a
// contribution to the host, to call a host function, and to copy the result back, all on the stream that was given. So
// work that is not ordered after that stream sees old data, as with NCCL, and a capture records the call and replays it.
//
// It is stricter than NCCL, which hangs or computes rubbish: all ranks must make the same calls in the same order, and a
// rank that is gone or late is told of. What breaks a rule goes to the file that GPUNN_NCCL_LOG names, a line each:
//
//   FINDING nccl: rank 1, call 3: ...
//   COUNTS nccl: rank 1 of 2: allReduce 5 calls 4000 bytes
//
// After a finding the communicator is of no use: results are all ones (NaN), and calls return an error.
//
// GPUNN_NCCL_SECONDS (20): how late a rank may be. GPUNN_NCCL_SAME_GPU=refuse: two ranks on one GPU are refused, as by
// NCCL. By default they are not, since each process may have a GPU that only looks the same.
//
// A driver that runs work only when something waits for it would let a rank wait for ever for one that is busy
// elsewhere. So each communicator has a thread, which lets the queued call run once another rank has waited for it.
//
// What CuPy links to and tests do not use returns ncclInvalidUsage.

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

namespace {

// ---------------------------------------------------------------- NCCL's and CUDA's names
enum Result { Success, CudaError, SystemError, InternalError, InvalidArgument, InvalidUsage, RemoteError };
enum Type { Int8, Uint8, Int32, Uint32, Int64, Uint64, Float16, Float32, Float64 };
enum Reduction { Sum, Prod, Max, Min, Avg };
struct UniqueId {
  char name[128];
};
typedef void *Stream, *Event, *Context;
typedef uint64_t Address;

size_t size_of(int type) {
  constexpr size_t sizes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8};
  return type >= Int8 && type <= Float64 ? sizes[type] : 0;
}

void* driver(const char* name) {
  static void* library = dlopen("libcuda.so.1", RTLD_NOW);
  void* found = library ? dlsym(library, name) : nullptr;
  if (!found) {
    fprintf(stderr, "nccl stand-in: the CUDA driver has no %s\n", name);
    abort();
  }
  return found;
}
#define DRIVER(name, arguments)                             \
  template <typename... A>                                  \
  int name(A... a) {                                        \
    static auto f = (int(*) arguments)driver(#name);        \
    return f(a...);                                         \
  }
DRIVER(cuCtxGetCurrent, (Context*))
DRIVER(cuCtxSetCurrent, (Context))
DRIVER(cuCtxGetDevice, (int*))
DRIVER(cuCtxSynchronize, ())
DRIVER(cuDeviceGetPCIBusId, (char*, int, int))
DRIVER(cuStreamGetCtx, (Stream, Context*))
DRIVER(cuStreamIsCapturing, (Stream, int*))
DRIVER(cuThreadExchangeStreamCaptureMode, (int*))
DRIVER(cuPointerGetAttribute, (void*, int, Address))
DRIVER(cuMemHostAlloc, (void**, size_t, unsigned))
DRIVER(cuMemcpyDtoHAsync_v2, (void*, Address, size_t, Stream))
DRIVER(cuMemcpyHtoDAsync_v2, (Address, const void*, size_t, Stream))
DRIVER(cuLaunchHostFunc, (Stream, void (*)(void*), void*))
DRIVER(cuEventCreate, (Event*, unsigned))
DRIVER(cuEventRecord, (Event, Stream))
DRIVER(cuEventSynchronize, (Event))

// Allocating is forbidden while this thread captures, unless it says that it knows what it does.
struct Relaxed {
  int mode = 2;  // CU_STREAM_CAPTURE_MODE_RELAXED
  Relaxed() { cuThreadExchangeStreamCaptureMode(&mode); }
  ~Relaxed() { cuThreadExchangeStreamCaptureMode(&mode); }
};

// ---------------------------------------------------------------- small helpers
double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
void pause(double seconds) { usleep((useconds_t)(seconds * 1e6)); }
double patience() {
  const char* given = getenv("GPUNN_NCCL_SECONDS");
  return given ? atof(given) : 20;
}
std::string text(const char* format, ...) {
  char line[1024];
  va_list a;
  va_start(a, format);
  vsnprintf(line, sizeof line, format, a);
  va_end(a);
  return line;
}
void log(const std::string& line) {
  fprintf(stderr, "%s\n", line.c_str());
  const char* path = getenv("GPUNN_NCCL_LOG");
  if (!path) return;
  int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);  // several processes append: a line is one write
  if (file < 0) return;
  std::string ended = line + "\n";
  if (write(file, ended.data(), ended.size()) < 0) perror(path);
  close(file);
}
bool alive(int pid) {
  if (kill(pid, 0) && errno == ESRCH) return false;
  char state = 0, line[512] = "";
  if (FILE* f = fopen(text("/proc/%d/stat", pid).c_str(), "r")) {
    if (fgets(line, sizeof line, f)) {
      const char* end = strrchr(line, ')');
      if (end && end[1]) state = end[2];
    }
    fclose(f);
  }
  return state != 'Z' && state != 'X';
}

// ---------------------------------------------------------------- what the ranks share
constexpr int MOST = 64, RING = 256;
enum Kind { AllReduce, Broadcast, AllGather, Reduce, KINDS };
const char* const names[] = {"allReduce", "broadcast", "allGather", "reduce"};
struct Call {  // what all ranks must agree on
  int kind, type, op, root;
  uint64_t count;
  bool operator==(const Call& c) const {
    return kind == c.kind && type == c.type && op == c.op && root == c.root && count == c.count;
  }
  std::string words() const {
    const char* const types[] = {"int8", "uint8", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"};
    const char* const ops[] = {"sum", "prod", "max", "min", "avg"};
    std::string said = text("%s of %llu %s", names[kind], (unsigned long long)count, types[type]);
    if (kind == AllReduce || kind == Reduce) said += text(" by %s", ops[op]);
    if (kind == Broadcast || kind == Reduce) said += text(" with root %d", root);
    return said;
  }
};
struct Issued {  // a call as it was made on the host; it may run later
  std::atomic<uint64_t> number;
  Call call;
};
struct Rank {
  std::atomic<int> joined, opened, left;
  int pid, device;
  char bus[32];
  Issued issued[RING];
  // Calls are numbered from 1 in the order in which they run.
  std::atomic<uint64_t> posted;   // the latest whose contribution lies in this rank's data
  std::atomic<uint64_t> read;     // the latest for which this rank has read all data
  std::atomic<uint64_t> waiting;  // the one that this rank waits for the others to post, or 0
  std::atomic<double> since;
  Call call;
};
struct Header {
  std::atomic<int> size, captured, failed;
  Rank ranks[MOST];
};

struct Data {  // a rank's contribution to the latest call
  int file = -1;
  char* at = nullptr;
  size_t mapped = 0;
  char* up_to(size_t bytes) {  // whoever reads knows that the writer has made the file as long
    if (bytes <= mapped) return at;
    if (at) munmap(at, mapped);
    mapped = (bytes + 4095) / 4096 * 4096;
    at = (char*)mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (at == MAP_FAILED) {
      perror("nccl stand-in: mmap");
      abort();
    }
    return at;
  }
};

struct Comm;
struct Work {  // one call that is queued, or that a graph holds
  Comm* comm;
  Call call;
  size_t in, out, capacity = 0;  // bytes
  char* pinned = nullptr;
  Event event = nullptr;
  bool captured, ran = false;
};

struct Comm {
  Header* shared;
  int rank, size, device;
  Context context;
  std::string name;
  Data data[MOST];
  uint64_t calls = 0, issued = 0;
  std::atomic<bool> destroyed{false}, aborted{false};
  std::mutex guard;
  std::vector<Work*> queued, idle;
  uint64_t count[KINDS] = {}, bytes[KINDS] = {};
  std::thread helper;

  Rank& mine() { return shared->ranks[rank]; }
  bool broken() const { return shared->failed || aborted; }
  void fail(uint64_t number, const std::string& what) {
    int before = 0;
    if (shared->failed.compare_exchange_strong(before, 1))
      log(text("FINDING nccl: rank %d, call %llu: %s", rank, (unsigned long long)number, what.c_str()));
  }

  // Wait until `ready` says so of all ranks; false, and a finding, where that cannot be.
  template <typename Ready>
  bool all(uint64_t number, const char* what, Ready ready) {
    double start = now(), asked = start;
    for (int p = 0; p < size; p++) {
      Rank& peer = shared->ranks[p];
      for (int turns = 0; !ready(peer); turns++) {
        if (broken()) return false;
        double t = now();
        if (t - asked > 0.02) {
          asked = t;
          bool gone = peer.joined && (peer.left || !alive(peer.pid));
          if (gone && !ready(peer)) return fail(number, text("rank %d (process %d) is gone, %s", p, peer.pid, what)), false;
          if (t - start > patience()) return fail(number, text("rank %d is late by %.0f s, %s", p, t - start, what)), false;
        }
        if (turns > 100) pause(50e-6);
      }
    }
    return !broken();
  }

  bool exchange(Work& work);
  void run(Work& work);
  void help();
  void counts() {
    std::string said = text("COUNTS nccl: rank %d of %d:", rank, size);
    for (int k = 0; k < KINDS; k++)
      if (count[k]) said += text(" %s %llu calls %llu bytes", names[k], (unsigned long long)count[k], (unsigned long long)bytes[k]);
    log(said);
  }
  void stop() {
    if (helper.joinable()) helper.join();
    mine().left = 1;
  }
};

std::mutex all_guard;
std::vector<Comm*> comms;  // never freed: a graph may still hold calls of one
struct AtExit {
  ~AtExit() {
    for (Comm* comm : comms)
      if (!comm->destroyed) {
        comm->destroyed = comm->aborted = true;
        comm->counts();
        comm->stop();
      }
  }
} at_exit;

// ---------------------------------------------------------------- arithmetic
template <typename T>
void reduce(Comm& comm, const Call& call, char* to) {
  // In the order of the ranks, everywhere: all ranks get the same bits.
  T* sum = (T*)to;
  for (int p = 0; p < comm.size; p++) {
    const T* x = (const T*)comm.data[p].up_to(call.count * sizeof(T));
    for (size_t i = 0; i < call.count; i++) {
      T value = call.op == Avg ? (T)(x[i] / (T)comm.size) : x[i];
      if (p == 0) sum[i] = value;
      else if (call.op == Sum || call.op == Avg) sum[i] = (T)(sum[i] + value);
      else if (call.op == Prod) sum[i] = (T)(sum[i] * value);
      else if (call.op == Max) sum[i] = std::max(sum[i], value);
      else sum[i] = std::min(sum[i], value);
    }
  }
}
void reduce(Comm& comm, const Call& call, char* to) {
  switch (call.type) {
    case Int8: return reduce<int8_t>(comm, call, to);
    case Uint8: return reduce<uint8_t>(comm, call, to);
    case Int32: return reduce<int32_t>(comm, call, to);
    case Uint32: return reduce<uint32_t>(comm, call, to);
    case Int64: return reduce<int64_t>(comm, call, to);
    case Uint64: return reduce<uint64_t>(comm, call, to);
    case Float16: return reduce<_Float16>(comm, call, to);
    case Float32: return reduce<float>(comm, call, to);
    default: return reduce<double>(comm, call, to);
  }
}

// ---------------------------------------------------------------- one call, when the stream gets to it
bool Comm::exchange(Work& work) {
  const Call& call = work.call;
  uint64_t n = ++calls;
  if (!all(n, "which has not read the call before", [n](Rank& p) { return p.read >= n - 1; })) return false;
  if (ftruncate(data[rank].file, (off_t)std::max(work.in, data[rank].mapped))) return fail(n, "no shared memory"), false;
  if (work.in) memcpy(data[rank].up_to(work.in), work.pinned, work.in);
  mine().call = call;
  mine().since = now();
  mine().waiting = n;
  mine().posted = n;
  std::string what = "whose contribution is wanted to " + call.words();
  bool there = all(n, what.c_str(), [n](Rank& p) { return p.posted >= n; });
  mine().waiting = 0;
  if (!there) return false;
  for (int p = 0; p < size; p++)
    if (!(shared->ranks[p].call == call))
      return fail(n, text("%s, but rank %d: %s", call.words().c_str(), p, shared->ranks[p].call.words().c_str())), false;
  if (call.kind == AllReduce || (call.kind == Reduce && rank == call.root)) reduce(*this, call, work.pinned);
  size_t each = call.count * size_of(call.type);
  if (call.kind == Broadcast && work.out) memcpy(work.pinned, data[call.root].up_to(each), each);
  if (call.kind == AllGather)
    for (int p = 0; p < size; p++) memcpy(work.pinned + (size_t)p * each, data[p].up_to(each), each);
  mine().read = n;
  count[call.kind]++;
  bytes[call.kind] += each;
  return true;
}
void Comm::run(Work& work) {
  {
    std::lock_guard<std::mutex> lock(guard);
    work.ran = true;
  }
  if (destroyed) fail(calls + 1, "a graph runs " + work.call.words() + " of a communicator that is destroyed");
  if (broken() || !exchange(work)) memset(work.pinned, 0xff, work.out);
}

// Let what is queued here run once another rank has waited for it.
void Comm::help() {
  cuCtxSetCurrent(context);
  Relaxed relaxed;
  while (!destroyed && !broken()) {
    pause(0.02);
    for (int p = 0; p < size; p++) {
      Rank& peer = shared->ranks[p];
      uint64_t wanted = peer.waiting;
      if (p == rank || !wanted || wanted <= mine().posted || now() - peer.since < 0.2) continue;
      Event event = nullptr;
      {
        std::lock_guard<std::mutex> lock(guard);
        for (Work* work : queued)
          if (!work->ran && work->event) {
            event = work->event;
            break;
          }
      }
      if (event) cuEventSynchronize(event);
      else if (shared->captured) cuCtxSynchronize();  // it may be in a graph, whose stream is not known here
    }
  }
}

// ---------------------------------------------------------------- one call, on the host
int enqueue(Comm* comm, Call call, const void* send, void* recv, Stream stream) {
  uint64_t number = comm->issued + 1;
  auto refused = [&](const std::string& why) { return comm->fail(number, call.words() + ": " + why), InvalidArgument; };
  if (comm->destroyed || comm->broken()) return comm->shared->failed ? RemoteError : InvalidUsage;
  if (!size_of(call.type) || call.op < Sum || call.op > Avg) return InvalidArgument;
  if (call.root < 0 || call.root >= comm->size) return refused("no such root");
  if (!call.count) return Success;

  Context context = nullptr;
  int device = -1;
  if (cuStreamGetCtx(stream, &context)) return refused("no such stream");
  Context before = nullptr;
  cuCtxGetCurrent(&before);
  cuCtxSetCurrent(context);
  cuCtxGetDevice(&device);
  cuCtxSetCurrent(before);
  if (device != comm->device) return refused(text("a stream of device %d, the communicator is on %d", device, comm->device));

  size_t each = call.count * size_of(call.type);
  bool root = comm->rank == call.root;
  size_t in = call.kind == Broadcast && !root ? 0 : each;
  size_t out = call.kind == AllGather ? each * (size_t)comm->size : call.kind == Reduce && !root ? 0 : each;
  if (call.kind == Broadcast && root && send == recv) out = 0;
  for (auto [pointer, bytes] : {std::pair((Address)send, in), std::pair((Address)recv, out)}) {
    if (!bytes) continue;
    if (pointer % size_of(call.type)) return refused("a pointer that is not aligned");
    if (cuPointerGetAttribute(&device, 9, pointer)) return refused("a pointer that is no device memory");
    if (device != comm->device) return refused(text("memory of device %d, the communicator is on %d", device, comm->device));
  }
  Address from = (Address)send, to = (Address)recv;
  Address in_place = call.kind == AllGather ? to + each * (Address)comm->rank : to;
  if (in && out && from != in_place && from < to + out && to < from + in) return refused("the arrays overlap");

  int status = 0;
  cuStreamIsCapturing(stream, &status);
  bool captured = status != 0;
  if (captured) comm->shared->captured = 1;
  comm->issued = number;
  // The order of the calls on the host is that of the streams, unless graphs repeat some.
  if (!comm->shared->captured) {
    Issued& slot = comm->mine().issued[number % RING];
    slot.number = 0;
    slot.call = call;
    slot.number = number;
    for (int p = 0; p < comm->size; p++) {
      Issued& other = comm->shared->ranks[p].issued[number % RING];
      if (other.number != number) continue;
      Call theirs = other.call;
      if (other.number != number || theirs == call) continue;
      comm->fail(number, text("%s, but rank %d: %s", call.words().c_str(), p, theirs.words().c_str()));
      return InvalidUsage;
    }
  }

  size_t room = std::max(std::max(in, out), (size_t)1);
  Work* work = nullptr;
  {
    std::lock_guard<std::mutex> lock(comm->guard);
    auto fits = std::find_if(comm->idle.begin(), comm->idle.end(), [room](Work* w) { return w->capacity >= room; });
    if (!captured && fits != comm->idle.end()) {
      work = *fits;
      comm->idle.erase(fits);
    }
  }
  Relaxed relaxed;
  if (!work) {
    work = new Work;
    work->capacity = room;
    if (cuMemHostAlloc((void**)&work->pinned, room, 0)) return CudaError;
    if (!captured && cuEventCreate(&work->event, 2)) return CudaError;
  }
  work->comm = comm, work->call = call, work->in = in, work->out = out, work->captured = captured, work->ran = false;
  if (!captured) {
    std::lock_guard<std::mutex> lock(comm->guard);
    comm->queued.push_back(work);
  }
  if (in && cuMemcpyDtoHAsync_v2(work->pinned, from, in, stream)) return CudaError;
  if (cuLaunchHostFunc(stream, [](void* w) { ((Work*)w)->comm->run(*(Work*)w); }, work)) return CudaError;
  if (out && cuMemcpyHtoDAsync_v2(to, work->pinned, out, stream)) return CudaError;
  if (captured) return Success;  // the graph may run it at any time
  if (cuEventRecord(work->event, stream)) return CudaError;
  auto done = [](void* data) {
    Work* work = (Work*)data;
    std::lock_guard<std::mutex> lock(work->comm->guard);
    auto& queued = work->comm->queued;
    queued.erase(std::find(queued.begin(), queued.end(), work));
    work->comm->idle.push_back(work);
  };
  if (cuLaunchHostFunc(stream, +done, work)) return CudaError;
  return comm->shared->failed ? RemoteError : Success;
}

int open_shared(const std::string& name, size_t bytes) {
  int file = shm_open(name.c_str(), O_RDWR | O_CREAT, 0600);
  if (file >= 0 && bytes && ftruncate(file, (off_t)bytes)) return -1;
  return file;
}

int join(Comm* comm) {
  int file = open_shared(comm->name, sizeof(Header));
  if (file < 0) return SystemError;
  comm->shared = (Header*)mmap(nullptr, sizeof(Header), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (comm->shared == MAP_FAILED) return SystemError;
  int size = 0;
  if (!comm->shared->size.compare_exchange_strong(size, comm->size) && size != comm->size)
    return comm->fail(0, text("there are %d ranks here and %d elsewhere", comm->size, size)), InvalidUsage;
  Rank& mine = comm->mine();
  std::string own = comm->name + text("-%d", comm->rank);
  mine.pid = getpid();
  mine.device = comm->device;
  cuDeviceGetPCIBusId(mine.bus, (int)sizeof mine.bus, comm->device);
  int before = 0;
  if (mine.joined) return comm->fail(0, "two processes have this rank"), InvalidUsage;
  comm->data[comm->rank].file = open_shared(own, 0);
  mine.joined.compare_exchange_strong(before, 1);
  auto give_up = [&](int result) {
    shm_unlink(own.c_str());
    shm_unlink(comm->name.c_str());
    mine.left = 1;
    return result;
  };
  if (!comm->all(0, "which has not joined", [](Rank& p) { return p.joined == 1; })) return give_up(RemoteError);
  const char* same = getenv("GPUNN_NCCL_SAME_GPU");
  bool refuse = same && !strcmp(same, "refuse");
  for (int p = 0; p < comm->size; p++) {
    if (refuse && p != comm->rank && !strcmp(comm->shared->ranks[p].bus, mine.bus)) return give_up(InvalidUsage);
    if (p == comm->rank) continue;
    comm->data[p].file = shm_open((comm->name + text("-%d", p)).c_str(), O_RDWR, 0600);
    if (comm->data[p].file < 0) return give_up(SystemError);
  }
  mine.opened = 1;
  if (!comm->all(0, "which has not joined", [](Rank& p) { return p.opened == 1; })) return give_up(RemoteError);
  // All have what they need by file descriptor: nothing stays behind if one dies.
  shm_unlink(own.c_str());
  if (comm->rank == 0) shm_unlink(comm->name.c_str());
  return Success;
}

}  // namespace

// ---------------------------------------------------------------- NCCL's functions
API int ncclGetVersion(int* version) {
  *version = 22501;
  return Success;
}
API int ncclGetUniqueId(UniqueId* id) {
  memset(id, 0, sizeof *id);
  std::random_device random;
  snprintf(id->name, sizeof id->name, "/gpunn-nccl-%d-%08x%08x", (int)getpid(), random(), random());
  return Success;
}
API const char* ncclGetErrorString(int result) {
  const char* const said[] = {"no error", "a CUDA call failed", "a system call failed", "internal error", "invalid argument", "invalid usage", "another rank failed"};
  return result >= 0 && result <= RemoteError ? said[result] : "unknown error";
}
API int ncclCommInitRankConfig(Comm** made, int size, UniqueId id, int rank, void*) {
  *made = nullptr;
  if (size < 1 || size > MOST || rank < 0 || rank >= size || strncmp(id.name, "/gpunn-nccl-", 12)) return InvalidArgument;
  Comm* comm = new Comm;
  comm->rank = rank, comm->size = size, comm->name = id.name;
  if (cuCtxGetCurrent(&comm->context) || !comm->context || cuCtxGetDevice(&comm->device)) return CudaError;
  if (int error = join(comm)) return error;
  comm->helper = std::thread([comm] { comm->help(); });
  std::lock_guard<std::mutex> lock(all_guard);
  comms.push_back(comm);
  *made = comm;
  return Success;
}
static int leave(Comm* comm, bool abort) {
  if (!comm || comm->destroyed) return InvalidArgument;
  if (!abort) {
    std::lock_guard<std::mutex> lock(comm->guard);
    if (!comm->queued.empty() && !comm->broken())
      comm->fail(comm->issued, "the communicator is destroyed before " + comm->queued[0]->call.words() + " has run");
  }
  comm->aborted = abort || comm->aborted;
  comm->destroyed = true;
  comm->counts();
  comm->stop();
  return Success;
}
API int ncclCommDestroy(Comm* comm) { return leave(comm, false); }
API int ncclCommAbort(Comm* comm) { return leave(comm, true); }
API int ncclCommGetAsyncError(Comm* comm, int* error) {
  *error = comm->shared->failed ? RemoteError : Success;
  return Success;
}
API int ncclCommCount(Comm* comm, int* count) { return *count = comm->size, Success; }
API int ncclCommCuDevice(Comm* comm, int* device) { return *device = comm->device, Success; }
API int ncclCommUserRank(Comm* comm, int* rank) { return *rank = comm->rank, Success; }
API int ncclAllReduce(const void* send, void* recv, size_t count, int type, int op, Comm* comm, Stream stream) {
  return enqueue(comm, {AllReduce, type, op, 0, count}, send, recv, stream);
}
API int ncclReduce(const void* send, void* recv, size_t count, int type, int op, int root, Comm* comm, Stream stream) {
  return enqueue(comm, {Reduce, type, op, root, count}, send, recv, stream);
}
API int ncclBroadcast(const void* send, void* recv, size_t count, int type, int root, Comm* comm, Stream stream) {
  return enqueue(comm, {Broadcast, type, Sum, root, count}, send, recv, stream);
}
API int ncclBcast(void* buffer, size_t count, int type, int root, Comm* comm, Stream stream) {
  return enqueue(comm, {Broadcast, type, Sum, root, count}, buffer, buffer, stream);
}
API int ncclAllGather(const void* send, void* recv, size_t count, int type, Comm* comm, Stream stream) {
  return enqueue(comm, {AllGather, type, Sum, 0, count}, send, recv, stream);
}
// Calls of one communicator need no grouping: they are queued one after the other.
API int ncclGroupStart() { return Success; }
API int ncclGroupEnd() { return Success; }

static int refuse(const char* name) {
  log(text("FINDING nccl: %s: the stand-in does not have it", name));
  return InvalidUsage;
}
API int ncclCommInitAll(Comm**, int, const int*) { return refuse("ncclCommInitAll"); }
API int ncclCommSplit(Comm*, int, int, Comm**, void*) { return refuse("ncclCommSplit"); }
API int ncclReduceScatter(const void*, void*, size_t, int, int, Comm*, Stream) { return refuse("ncclReduceScatter"); }
API int ncclSend(const void*, size_t, int, int, Comm*, Stream) { return refuse("ncclSend"); }
API int ncclRecv(void*, size_t, int, int, Comm*, Stream) { return refuse("ncclRecv"); }
