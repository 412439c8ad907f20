#ifndef LINK_SHELL_H
#define LINK_SHELL_H

/*
 * Links whose agent is started through a POSIX shell on the host. Each kind of shell (command.c,
 * ssh.c) gets such a shell; the dialogue is the same for all:
 *
 *     LOGIN ──> START ──> ASK ──"start"──────────────────────────────> READY
 *                 ▲        └──"absent"──> SEND ──> END_INPUT ──┐
 *                 └────────────────────"stored"────────────────┘
 *
 * A script asks whether <base_dir>/agent/<hash> holds this version of the program (program.h). If
 * so, it becomes the agent. Otherwise it answers which archive it can unpack from its standard
 * input; the unpacked program checks itself and takes its name, and a second shell starts it. The
 * script ends before any other byte is sent, so a shell that reads ahead takes only its own bytes.
 * Lines with answers begin with a random word of this link, so the output of a login is skipped.
 */

#include "driver.h"
#include "recluster/buf.h"

struct shell_driver {
    /* As in struct link_driver, for the shell's standard input and output. */
    int (*open)(const struct link_target *target, void **ret, struct err *err);
    int (*login)(void *stream, struct err *err); /* 0, LINK_IO_WAIT, -1; may be NULL */
    ssize_t (*read)(void *stream, void *data, size_t size, struct err *err);
    ssize_t (*write)(void *stream, const void *data, size_t size, struct err *err);
    void (*wait)(void *stream, bool writing, struct wait *wait);
    int (*end)(void *stream, struct err *why);
    void (*close)(void *stream);

    /* Starts a shell after ending the one before: 0, LINK_IO_WAIT, -1. */
    int (*start)(void *stream, struct err *err);
    /* Closes the shell's standard input: 0, LINK_IO_WAIT, -1. */
    int (*end_input)(void *stream, struct err *err);
    /* Its standard error: the newest SHELL_ERRORS_MAX bytes, borrowed. */
    const struct buf *(*errors)(void *stream);
};

enum { SHELL_ERRORS_MAX = 4096 };

/* Keeps the newest bytes. */
void shell_add_errors(struct buf *errors, const void *data, size_t len);

extern const struct shell_driver shell_ssh, shell_command;

/* The words of "command" with placeholders filled in, NULL-ended; the caller frees them. */
int command_argv(const struct link_target *target, char ***ret, struct err *err) MUST_CHECK;

/* For tests: the script, the caller's. */
char *shell_script(const char *word, const char *base_dir, const char *machine, const char *loader,
    const char *hash);

#endif
