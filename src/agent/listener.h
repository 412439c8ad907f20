#ifndef AGENT_LISTENER_H
#define AGENT_LISTENER_H

/* The process that listens at an address of this machine, and its systemd unit. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct listener {
    pid_t pid;
    uint64_t started; /* in clock ticks since boot: a pid may be reused */
    char name[16];    /* of the program, cut to 15 bytes by the kernel */
};

/* Finds the process that holds the socket (machine_listening()); false: none that we may see. */
bool listener_find(unsigned long inode, struct listener *ret);

/* Whether that process holds the socket. */
bool listener_holds(pid_t pid, unsigned long inode);

/*
 * The unit in the text of a /proc/PID/cgroup: the first part of the path that is not a slice, if it
 * is a service of the system ("redis-server@1.service"). NULL: none. The caller frees it.
 */
char *unit_in_cgroups(const char *cgroups);

/* The unit of a process; NULL: none. The caller frees it. */
char *unit_of(pid_t pid);

/* Calls fn with the program of each process of the unit until it returns false. False: it did. */
bool unit_each(const char *unit, bool (*fn)(pid_t pid, const char *name));

#endif
