#ifndef AGENT_WATCH_H
#define AGENT_WATCH_H

/* For loops that poll a server. */

#include <stdbool.h>
#include <stdint.h>

void pause_ms(int ms);

/*
 * Ends a wait that makes no progress:
 *
 *     struct watch watch = WATCH_INIT(120000);
 *     while (…) if (watch_is_stuck(&watch, bytes)) return …;
 */
struct watch {
    int64_t patience_ms;
    int64_t since_ms;
    uint64_t last;
};
#define WATCH_INIT(ms)                                                                             \
    {                                                                                              \
        .patience_ms = (ms)                                                                        \
    }
bool watch_is_stuck(struct watch *watch, uint64_t progress);

#endif
