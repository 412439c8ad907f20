#include "rate.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

struct rate {
    int64_t bytes_per_second;
    _Atomic int64_t free_us; /* when all accepted bytes have passed; monotonic */
};

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

struct rate *rate_new(int64_t bytes_per_second)
{
    /* Shared with children. A page is so small that this fails only if nothing works any more. */
    struct rate *r =
        mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (r == MAP_FAILED)
        die_of_memory(sizeof(*r));
    r->bytes_per_second = bytes_per_second;
    atomic_init(&r->free_us, now_us());
    return r;
}

void rate_free(struct rate *r)
{
    if (r)
        munmap(r, sizeof(*r));
}

void rate_take(struct rate *r, size_t bytes)
{
    int64_t cost_us = (int64_t)((double)bytes * 1e6 / (double)r->bytes_per_second);
    int64_t now = now_us(), free_us = atomic_load(&r->free_us), from;

    do {
        int64_t oldest = now - (int64_t)RATE_BURST_MS * 1000; /* unused rate is lost */
        from = free_us > oldest ? free_us : oldest;
    } while (!atomic_compare_exchange_weak(&r->free_us, &free_us, from + cost_us));
    int64_t wait_us = from + cost_us - now;
    if (wait_us <= 0)
        return;
    struct timespec pause = {.tv_sec = wait_us / 1000000, .tv_nsec = wait_us % 1000000 * 1000};
    nanosleep(&pause, NULL);
}
