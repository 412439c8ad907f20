#ifndef STORE_COMMAND_SHELL_H
#define STORE_COMMAND_SHELL_H

/*
 * One run of the operator's command, which gives a shell: its input is a script, its output is read
 * to the end.
 *
 *     shell_run_start(&run, argv, &script, err)
 *     while ((n = shell_run_read(&run, data, size, err)) > 0)
 *         …
 *     shell_run_end(&run)
 *
 * ERR_TIMEOUT if nothing comes for `silence_ms`.
 */

#include <stdint.h>
#include <sys/types.h>

#include "recluster/buf.h"
#include "recluster/err.h"

struct shell_run {
    pid_t pid;
    int to, from, errors;
    int64_t silence_ms;
    struct buf said; /* its standard error, at most SHELL_SAID_MAX bytes */
    const char *name;
};

enum { SHELL_SAID_MAX = 4096 };

/* `argv`: NULL-ended, borrowed until the end. */
int shell_run_start(struct shell_run *run, const char *const *argv, const struct buf *script,
    int64_t silence_ms, struct err *err) MUST_CHECK;
/* 0: its output has ended. */
ssize_t shell_run_read(struct shell_run *run, char *data, size_t size, struct err *err) MUST_CHECK;
void shell_run_end(struct shell_run *run);

/* Why there is no answer: the last line that it printed on standard error. Returns -1. */
int shell_run_failed(struct shell_run *run, struct err *err);

#endif
