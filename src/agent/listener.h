#ifndef AGENT_LISTENER_H
#define AGENT_LISTENER_H

/* Who listens on this machine, and the unit of systemd that it belongs to. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct listener {
    pid_t pid;
    uint64_t started; /* in the clock's ticks since boot: a pid may come again */
    char name[16];    /* of the program, as the kernel has it: cut to 15 bytes */
};

/* The process that holds the socket (machine_listening()); false: none that may be seen. */
bool listener_find(unsigned long inode, struct listener *ret);

/* Whether that process holds the socket. */
bool listener_holds(pid_t pid, unsigned long inode);

/*
 * The unit in the text of a /proc/PID/cgroup: the first part of the path that is no slice, if it is
 * a service ("redis-server@1.service") of the system. NULL: none. The caller frees it.
 */
char *unit_in_cgroups(const char *cgroups);

/* The unit of a process; NULL: none. The caller frees it. */
char *unit_of(pid_t pid);

/*
 * Calls fn for each process of the unit, with the name of its program, until it returns false;
 * returns whether it never did.
 */
bool unit_each(const char *unit, bool (*fn)(pid_t pid, const char *name));

#endif
