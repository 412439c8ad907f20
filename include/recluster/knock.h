#ifndef RECLUSTER_KNOCK_H
#define RECLUSTER_KNOCK_H

/*
 * Does anything listen there? Many addresses at once, and names looked up, each within a time limit.
 * Both block, and leave nothing behind.
 */

#include <stddef.h>

#include "recluster/err.h"
#include "recluster/mem.h"

enum knock_answer {
    KNOCK_UNASKED, /* not an IP address, or this machine can't ask (no such route or family) */
    KNOCK_OPEN,    /* a TCP connection was accepted */
    KNOCK_REFUSED, /* the machine answers, and nothing listens */
    KNOCK_SILENT,  /* no answer in time, or "unreachable": off, or not to be seen from here */
};

struct knock {
    const char *addr; /* an IP address */
    int port;
    enum knock_answer answer; /* set by knock_all() */
};

/*
 * Each connection is tried for `timeout_ms`, in which the kernel sends its request again after one
 * and after three seconds. At most KNOCKS_AT_ONCE are open at a time.
 */
enum { KNOCKS_AT_ONCE = 512, KNOCK_MS = 5000 };
int knock_all(struct knock *knocks, size_t count, int timeout_ms, struct err *err) MUST_CHECK;
const char *knock_answer_name(
    enum knock_answer answer); /* "open", "refused", "silent", "unasked" */

enum lookup_answer {
    LOOKUP_FOUND,
    LOOKUP_NONE, /* there is no such name */
    LOOKUP_LATE, /* no answer in time, or the resolver failed */
};

struct lookup {
    const char *name;
    enum lookup_answer answer;
    char **addrs; /* IP addresses; the caller's: strv_free() */
    size_t addr_count;
};

/* Names are looked up by processes of their own, which are ended after `timeout_ms`. */
int lookup_all(struct lookup *lookups, size_t count, int timeout_ms, struct err *err) MUST_CHECK;

#endif
