#ifndef LINK_DRIVER_H
#define LINK_DRIVER_H

/*
 * A kind of link: how an agent is started on a host and how bytes get there and back. No function
 * waits; what can't be done at once is asked for again after what wait() named has come.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "recluster/link.h"

enum { LINK_IO_WAIT = -2 };

struct link_driver {
    const char *kind; /* as in hosts.json */

    /* Begins to open the stream *ret. */
    int (*open)(const struct link_target *target, void **ret, struct err *err);

    /*
     * Connects, logs in, starts the agent: 0 when bytes can flow, LINK_IO_WAIT, -1. NULL for a kind
     * that is ready once it is open.
     */
    int (*connect)(void *stream, struct err *err);

    /* A number of bytes (read: 0 is the end of the stream), LINK_IO_WAIT, -1. */
    ssize_t (*read)(void *stream, void *data, size_t size, struct err *err);
    ssize_t (*write)(void *stream, const void *data, size_t size, struct err *err);

    /*
     * Names what the last functions that said LINK_IO_WAIT wait for; `writing`: there are bytes to
     * write. The kind decides: reading may take POLLOUT too.
     */
    void (*wait)(void *stream, bool writing, struct wait *wait);

    /*
     * After the end of the stream: how the agent ended, into *why ("the agent ended with status
     * 1"). 0, or LINK_IO_WAIT where that isn't known yet.
     */
    int (*end)(void *stream, struct err *why);

    /* Ends the agent and frees the stream. */
    void (*close)(void *stream);
};

extern const struct link_driver link_local, link_ssh, link_command;

/* "user" of the host's entry, or who we are here. Borrowed; NULL: not known. */
const char *link_user(const json_t *spec);

#endif
