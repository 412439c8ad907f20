#include "ranges.h"

#include <errno.h>
#include <semaphore.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "handle.h"
#include "recluster/child.h"
#include "recluster/memory_limit.h"

enum { CONNECTIONS_MAX = 8, WORTH_BYTES = 64 << 20, LOOK_MS = 500 };

/* A range in transfer: the child fills it, we empty it. */
struct range {
    sem_t filled, emptied; /* shared between processes */
    int rc;
    struct err err;
    struct store_object object;
    size_t len;
    char data[RANGE_BYTES];
};

struct reader {
    struct store *store;
    const char *name;
    int64_t offset, bytes; /* offset in the object */
    struct range *ranges;  /* shared memory; range i is in place i % range_count */
    size_t range_count, connections;
    size_t number; /* of the child */
    pid_t pids[CONNECTIONS_MAX];
    int pipes[CONNECTIONS_MAX]; /* unused */
    size_t started;
};

bool ranges_pay(const struct store *s, const struct store_object *object, int64_t offset)
{
    return s->driver->connections > 0 && object->validator[0] &&
           object->bytes - offset >= WORTH_BYTES;
}

/* --- in the child --- */

static int take(void *arg, const void *data, size_t len, struct err *err)
{
    struct range *r = arg;

    if (len > RANGE_BYTES - r->len)
        return err_set(err, ERR_PROTOCOL, "more bytes arrived than were requested");
    memcpy(r->data + r->len, data, len);
    r->len += len;
    return 0;
}

static void wait_for(sem_t *sem)
{
    while (sem_wait(sem) < 0 && errno == EINTR)
        ;
}

/* The range is there, or the error in its place. */
static void hand_over(struct range *range, int rc, const struct err *err)
{
    range->rc = rc;
    range->err = *err;
    sem_post(&range->filled);
}

static int on_memory_limit(void *arg, const struct err *err)
{
    hand_over(arg, -1, err);
    return 1;
}

/* The ranges of one child. For the first it has waited already. */
static int read_in_turn(const struct reader *r, struct store *own, struct err *err)
{
    for (size_t i = r->number;; i += r->connections) {
        struct range *range = &r->ranges[i % r->range_count];
        int64_t from = r->offset + (int64_t)i * RANGE_BYTES;
        if (from >= r->bytes)
            return 0;
        if (i != r->number)
            wait_for(&range->emptied);
        memory_limit_tell(on_memory_limit, range);
        range->len = 0;
        int rc = store_read(own, &(struct store_range){r->name, from, RANGE_BYTES}, take, range,
            &range->object, err);
        hand_over(range, rc, err);
        if (rc < 0)
            return -1;
    }
}

static int read_ranges(void *arg, int fd)
{
    const struct reader *r = arg;
    struct range *first = &r->ranges[r->number];
    struct err err = ERR_INIT;

    (void)fd;
    memory_limit_name("a range of '%s' in '%s'", r->name, store_label(r->store));
    memory_limit_tell(on_memory_limit, first);
    wait_for(&first->emptied);
    struct store *own = store_open_again(r->store, &err);
    if (own)
        return read_in_turn(r, own, &err) < 0;
    hand_over(first, -1, &err);
    return 1;
}

/* --- here --- */

/* A child that died has not reported an error. */
static int wait_for_range(struct reader *r, size_t child, struct range *range, struct err *err)
{
    for (;;) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LOOK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        if (sem_timedwait(&range->filled, &until) == 0)
            return 0;
        bool ended = false;
        struct err how = ERR_INIT;
        if (errno == ETIMEDOUT && r->pids[child] > 0 &&
            child_poll(r->pids[child], &ended, &how) < 0) {
            r->pids[child] = -1;
            return err_set(
                err, ERR_FAILED, "reading '%s' failed: a process %s", r->name, how.message);
        }
        /* It may have ended without an error right after it filled this range. */
        if (ended)
            r->pids[child] = -1;
    }
}

static int check_range(const struct reader *r, const struct range *range, size_t i,
    const struct store_object *object, struct err *err)
{
    int64_t left = r->bytes - (r->offset + (int64_t)i * RANGE_BYTES);
    size_t wanted = left < RANGE_BYTES ? (size_t)left : RANGE_BYTES;

    if (range->rc < 0) {
        *err = range->err;
        return -1;
    }
    if (!store_object_is_same(object, &range->object))
        return store_changed_error(r->store, r->name, err);
    if (range->len != wanted)
        return err_set(err, ERR_CORRUPT, "'%s' in '%s' ends before byte %lld", r->name,
            store_label(r->store), (long long)r->bytes);
    return 0;
}

static int deliver(struct reader *r, const struct store_object *object, store_sink sink, void *arg,
    struct err *err)
{
    for (size_t i = 0; r->offset + (int64_t)i * RANGE_BYTES < r->bytes; i++) {
        struct range *range = &r->ranges[i % r->range_count];
        if (wait_for_range(r, i % r->connections, range, err) < 0 ||
            check_range(r, range, i, object, err) < 0)
            return -1;
        if (sink(arg, range->data, range->len, err) < 0)
            return err->code == ERR_CANCELLED ? 0 : -1;
        sem_post(&range->emptied);
    }
    return 0;
}

static int start_children(struct reader *r, struct err *err)
{
    for (; r->started < r->connections; r->started++) {
        r->number = r->started;
        if (child_fork(read_ranges, r, &r->pids[r->started], &r->pipes[r->started], err) < 0)
            return -1;
    }
    return 0;
}

int ranges_read(struct store *s, const struct store_range *range, const struct store_object *object,
    store_sink sink, void *arg, struct err *err)
{
    struct reader r = {
        .store = s, .name = range->name, .offset = range->offset, .bytes = object->bytes};

    r.connections =
        s->driver->connections < CONNECTIONS_MAX ? s->driver->connections : CONNECTIONS_MAX;
    r.range_count = r.connections * RANGES_AHEAD;
    size_t bytes = r.range_count * sizeof(struct range);
    r.ranges = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (r.ranges == MAP_FAILED)
        return err_sys(err, ERR_FAILED, "no memory for the ranges of '%s'", range->name);
    for (size_t i = 0; i < r.range_count; i++) {
        sem_init(&r.ranges[i].filled, 1, 0);
        sem_init(&r.ranges[i].emptied, 1, 1);
    }
    int rc = start_children(&r, err);
    if (rc == 0)
        rc = deliver(&r, object, sink, arg, err);
    for (size_t i = 0; i < r.started; i++) {
        close(r.pipes[i]);
        if (r.pids[i] > 0)
            child_kill(r.pids[i]);
    }
    munmap(r.ranges, bytes);
    return rc;
}
