#ifndef LINK_DRIVER_H
#define LINK_DRIVER_H

/*
 * A kind of link: how an agent is started on a host, and how bytes get there and back. No function
 * blocks: a call that would is repeated after the events that wait() named.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "recluster/link.h"

enum { LINK_IO_WAIT = -2 };

struct link_driver {
    const char *kind; /* as in the hosts file */

    /* Begins to open the stream *ret. */
    int (*open)(const struct link_target *target, void **ret, struct err *err);

    /*
     * Connects, logs in and starts the agent. 0: bytes can flow; LINK_IO_WAIT; -1. NULL for a kind
     * that is ready once it is open.
     */
    int (*connect)(void *stream, struct err *err);

    /* Returns the number of bytes (read: 0 is the end of the stream), LINK_IO_WAIT or -1. */
    ssize_t (*read)(void *stream, void *data, size_t size, struct err *err);
    ssize_t (*write)(void *stream, const void *data, size_t size, struct err *err);

    /*
     * Names the events that the functions with LINK_IO_WAIT wait for; `writing`: there are bytes to
     * write. Reading may also wait for POLLOUT, as the kind decides.
     */
    void (*wait)(void *stream, bool writing, struct wait *wait);

    /*
     * After the end of the stream: how the agent ended, into *why ("the agent ended with status
     * 1"). Returns 0, or LINK_IO_WAIT if that is not known yet.
     */
    int (*end)(void *stream, struct err *why);

    /* Ends the agent and frees the stream. */
    void (*close)(void *stream);
};

extern const struct link_driver link_local, link_ssh, link_command;

/* "user" of the host's entry, or the current user here. Borrowed; NULL: unknown. */
const char *link_user(const json_t *spec);

#endif
