#include "recluster/memory_limit.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "recluster/human.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_SANITIZER 1
#endif
#endif
#ifndef HAS_SANITIZER
#define HAS_SANITIZER 0
#endif

static struct {
    bool set, inherited;
    rlim_t before, now;
    char name[512];
    int (*tell)(void *arg, const struct err *err);
    void *arg;
} limit;

/* Bytes of address space in use; 0: unknown. Must not allocate. */
static uint64_t used_bytes(void)
{
    char text[64];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    return strtoull(text, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t memory_limit_of_reader(void)
{
    const uint64_t least = UINT64_C(4) << 30;
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    uint64_t half = pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes / 2 : 0;

    return half > least ? half : least;
}

/* The stack grows into address space too, and without any it crashes: reserve it now. */
static void take_stack(void)
{
    enum { STACK_BYTES = 1 << 20, PAGE_BYTES = 4096 };
    volatile char stack[STACK_BYTES];

    for (size_t i = 0; i < STACK_BYTES; i += PAGE_BYTES)
        stack[i] = 0;
    (void)stack[0];
}

static int print(const struct err *err)
{
    fprintf(stderr, "recluster: %s\n%s\n", err->message, err->hint);
    return err_code_exit_status(err->code);
}

/* Returns if there is no limit, or if something else ran out. */
static void reached(size_t bytes)
{
    enum { NEAR_BYTES = 1 << 20 };
    struct err err = ERR_INIT;
    char most[HUMAN_TEXT_MAX];

    if (!limit.set || (bytes && used_bytes() + bytes + NEAR_BYTES < limit.now))
        return;
    memory_limit_lift();
    err_set(&err, ERR_LIMIT, "%s takes more memory to read than the limit, %s",
        limit.name[0] ? limit.name : "what others sent", human_bytes(limit.now, most));
    err_hint(&err, limit.inherited
                       ? "Raise the limit that this program was started with: ulimit -v unlimited"
                       : "It is damaged, or made to do harm: take another copy of it.");
    _exit(limit.tell ? limit.tell(limit.arg, &err) : print(&err));
}

void memory_limit_set(uint64_t bytes)
{
    struct rlimit as;

    memory_limit_lift();
    limit.name[0] = '\0';
    limit.tell = NULL;
    if (HAS_SANITIZER || getrlimit(RLIMIT_AS, &as) < 0)
        return;
    limit.before = as.rlim_cur;
    rlim_t most = used_bytes() + bytes;
    limit.inherited = as.rlim_cur != RLIM_INFINITY && as.rlim_cur <= most;
    if (!limit.inherited)
        as.rlim_cur = most;
    limit.now = as.rlim_cur;
    take_stack();
    limit.set = setrlimit(RLIMIT_AS, &as) == 0;
    mem_exhausted = reached;
    json_set_alloc_funcs(xmalloc, free);
}

void memory_limit_lift(void)
{
    struct rlimit as;

    if (!limit.set || getrlimit(RLIMIT_AS, &as) < 0)
        return;
    as.rlim_cur = limit.before;
    setrlimit(RLIMIT_AS, &as);
    limit.set = false;
}

void memory_limit_name(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(limit.name, sizeof(limit.name), fmt, args);
    va_end(args);
}

void memory_limit_tell(int (*tell)(void *arg, const struct err *err), void *arg)
{
    limit.tell = tell;
    limit.arg = arg;
}
