#ifndef AGENT_PROCESS_H
#define AGENT_PROCESS_H

/*
 * Holds one process, never another one that got its number later:
 *
 *     struct process p;
 *     if (process_hold(pid, &p)) {
 *         … compare p.started with the value seen before …
 *         process_signal(&p, SIGKILL);
 *         process_ends_within(&p, ms);
 *         process_release(&p);
 *     }
 *
 * It has ended when its last thread has: only then are its files, sockets and locks free.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct process {
    pid_t pid;
    uint64_t started; /* in clock ticks since boot */
    int fd;           /* a pidfd; -1: the kernel is too old */
};

/* false: no such process. */
bool process_hold(pid_t pid, struct process *ret);
void process_release(struct process *p);

bool process_has_ended(const struct process *p);
bool process_ends_within(const struct process *p, int ms);

/* 0, also if it has ended; -1 with errno. */
int process_signal(const struct process *p, int sig);

/* The start time of the process; false: it is gone. */
bool process_started(pid_t pid, uint64_t *ret);

/* Now, on the clock of `started`. */
uint64_t process_now(void);

/* Whether its working folder is this one; false if it belongs to another user. */
bool process_is_in(pid_t pid, const struct stat *folder);

/*
 * Calls fn for each process whose working folder is this one, until fn returns false. Skips the
 * agent and its children: processes of our own program in our own session.
 */
void process_each_in(const struct stat *folder, bool (*fn)(pid_t pid, void *arg), void *arg);

/* The text of /proc/PID/NAME, cut to size - 1 bytes; false: unreadable. */
bool process_read(pid_t pid, const char *name, char *text, size_t size);

#endif
