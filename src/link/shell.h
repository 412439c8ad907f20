#ifndef LINK_SHELL_H
#define LINK_SHELL_H

/*
 * Links to an agent that is started through a POSIX shell on the host. A kind of shell gets such a
 * shell there; what is said to it is the same for all of them:
 *
 *     LOGIN ──> START ──> ASK ──"start"──────────────────────────────> READY
 *                 ▲        └──"absent"──> SEND ──> END_INPUT ──┐
 *                 └────────────────────"stored"────────────────┘
 *
 * A script asks whether <base_dir>/agent/<hash> holds this very program (program.h); if so, it
 * becomes the agent. Else it says which archive it can unpack from its standard input, and the
 * program that was unpacked checks itself and takes its name; then a second shell starts it. The
 * script ends before any other byte is sent, so a shell that reads ahead takes nothing that isn't
 * its own. Its answers stand on lines that begin with a word made up for this link: whatever a
 * login prints before them is skipped.
 */

#include "driver.h"
#include "recluster/buf.h"

struct shell_driver {
    /* As of struct link_driver, for the shell's standard input and output. */
    int (*open)(const struct link_target *target, void **ret, struct err *err);
    int (*login)(void *stream, struct err *err); /* 0, LINK_IO_WAIT, -1; may be NULL */
    ssize_t (*read)(void *stream, void *data, size_t size, struct err *err);
    ssize_t (*write)(void *stream, const void *data, size_t size, struct err *err);
    void (*wait)(void *stream, bool writing, struct wait *wait);
    int (*end)(void *stream, struct err *why);
    void (*close)(void *stream);

    /* Starts a shell, and ends the one before: 0, LINK_IO_WAIT, -1. */
    int (*start)(void *stream, struct err *err);
    /* The end of the shell's standard input: 0, LINK_IO_WAIT, -1. */
    int (*end_input)(void *stream, struct err *err);
    /* What came on its standard error; the newest SHELL_ERRORS_MAX bytes, borrowed. */
    const struct buf *(*errors)(void *stream);
};

enum { SHELL_ERRORS_MAX = 4096 };

/* Keeps the newest bytes. */
void shell_add_errors(struct buf *errors, const void *data, size_t len);

extern const struct shell_driver shell_ssh, shell_command;

/* For tests. The script; the caller's. */
char *shell_script(const char *word, const char *base_dir, const char *machine, const char *loader,
    const char *hash);

#endif
