#ifndef RECLUSTER_KNOCK_H
#define RECLUSTER_KNOCK_H

/*
 * Tests whether anything listens at many addresses, and looks up many names, with a time limit.
 * Both functions block. They leave no process and no descriptor behind.
 */

#include <stddef.h>

#include "recluster/err.h"
#include "recluster/mem.h"

enum knock_answer {
    KNOCK_UNASKED, /* not an IP address, or this machine cannot ask (no such route or family) */
    KNOCK_OPEN,    /* a TCP connection was accepted */
    KNOCK_REFUSED, /* the machine answers, but nothing listens */
    KNOCK_SILENT,  /* no answer in time, or "unreachable": off, or not visible from here */
};

struct knock {
    const char *addr; /* an IP address */
    int port;
    enum knock_answer answer; /* set by knock_all() */
};

/*
 * Tries each connection for `timeout_ms`; the kernel repeats its request after one and after three
 * seconds. At most KNOCKS_AT_ONCE connections are open at a time.
 */
enum { KNOCKS_AT_ONCE = 512, KNOCK_MS = 5000 };
int knock_all(struct knock *knocks, size_t count, int timeout_ms, struct err *err) MUST_CHECK;
const char *knock_answer_name(
    enum knock_answer answer); /* "open", "refused", "silent", "unasked" */

enum lookup_answer {
    LOOKUP_FOUND,
    LOOKUP_NONE, /* the name does not exist */
    LOOKUP_LATE, /* no answer in time, or the resolver failed */
};

struct lookup {
    const char *name;
    enum lookup_answer answer;
    char **addrs; /* IP addresses; the caller's: strv_free() */
    size_t addr_count;
};

/* Each name is looked up in a child process, which is killed after `timeout_ms`. */
int lookup_all(struct lookup *lookups, size_t count, int timeout_ms, struct err *err) MUST_CHECK;

#endif
