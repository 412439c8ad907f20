#include "watch.h"

#include <errno.h>
#include <time.h>

#include "recluster/clock.h"

void pause_ms(int ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
}

bool watch_is_stuck(struct watch *watch, uint64_t progress)
{
    int64_t now = clock_mono_ms();

    if (!watch->since_ms || progress != watch->last) {
        watch->since_ms = now;
        watch->last = progress;
    }
    return now - watch->since_ms > watch->patience_ms;
}
