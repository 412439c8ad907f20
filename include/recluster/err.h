#ifndef RECLUSTER_ERR_H
#define RECLUSTER_ERR_H

/*
 * Errors.
 *
 * Every function that can fail returns 0 or -1 (or a pointer or NULL, or an enum for a job's step)
 * and takes a `struct err *` as its last argument, which must not be NULL:
 *
 *     if (fd < 0)
 *         return err_sys(err, ERR_IO, "cannot open '%s'", path);
 *     if (thing_read(fd, &thing, err) < 0)
 *         return err_wrap(err, "cannot read the thing of '%s'", name);
 *
 * The first function that sees a failure sets it; callers on the way up add what they know with
 * err_wrap(). On success the struct is left as it was. It is fixed in size, owns nothing and may be
 * copied by assignment.
 *
 * Messages are for the person who runs the program: lower case, what failed first, the subject in
 * single quotes, no full stop. The hint says what to do next, as a sentence of its own; only
 * src/cli prints either. A message or hint that does not fit is cut with "...".
 */

#include <stdbool.h>
#include <stddef.h>

#include "recluster/mem.h"

/*
 * X(identifier, name on the wire and in the state file, exit status, retried, text)
 *
 * The exit status is that of a run that did nothing else; see recluster(1). "Retried" means that
 * the same request may succeed a moment later by itself.
 */
#define ERR_CODES(X)                                                                               \
    X(ERR_NONE, "none", 0, false, "no error")                                                      \
    X(ERR_FAILED, "failed", 1, false, "failed")                                                    \
    X(ERR_USAGE, "usage", 2, false, "wrong usage")                                                 \
    X(ERR_IO, "io", 1, false, "input or output failed")                                            \
    X(ERR_SPACE, "space", 1, false, "no space left")                                               \
    X(ERR_NOT_FOUND, "not-found", 1, false, "not found")                                           \
    X(ERR_DENIED, "denied", 1, false, "access denied")                                             \
    X(ERR_NETWORK, "network", 1, true, "network failure")                                          \
    X(ERR_TIMEOUT, "timeout", 1, true, "deadline passed")                                          \
    X(ERR_BUSY, "busy", 1, true, "the other side is busy")                                         \
    X(ERR_PROTOCOL, "protocol", 1, false, "unexpected answer")                                     \
    X(ERR_CORRUPT, "corrupt", 4, false, "corrupt data")                                            \
    X(ERR_CHANGED, "changed", 4, false, "changed meanwhile")                                       \
    X(ERR_LIMIT, "limit", 4, false, "over a limit")                                                \
    X(ERR_UNSUPPORTED, "unsupported", 4, false, "not supported")                                   \
    X(ERR_CHECK, "check", 4, false, "refused by a check")                                          \
    X(ERR_SERVER, "server", 1, false, "the server failed")                                         \
    X(ERR_STATE_FILE, "state", 1, false, "state file failure")                                     \
    X(ERR_LOCKED, "locked", 5, false, "locked by another run")                                     \
    X(ERR_LINK, "link", 1, true, "link lost")                                                      \
    X(ERR_CANCELLED, "cancelled", 1, false, "cancelled")                                           \
    X(ERR_BUG, "bug", 70, false, "internal error")

enum err_code {
#define ERR_ENUM(id, name, status, retried, text) id,
    ERR_CODES(ERR_ENUM)
#undef ERR_ENUM
};

struct err {
    enum err_code code;
    int sys; /* errno of the cause, or 0 */
    char message[1024];
    char hint[1024];
};

#define ERR_INIT                                                                                   \
    {                                                                                              \
        .code = ERR_NONE                                                                           \
    }

/* Sets the error (and clears an earlier hint). Returns -1. */
int err_set(struct err *err, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/*
 * As err_set(), for a system call that has just failed: appends the text of errno. ENOSPC and
 * EDQUOT make it ERR_SPACE whatever the code, with a hint.
 */
int err_sys(struct err *err, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "fmt: " before the message; code and hint stay. Returns -1. */
int err_wrap(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Sets the hint. Returns -1, so that `return err_set(...), err_hint(...)` reads well. */
int err_hint(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

const char *err_code_name(enum err_code code);
const char *err_code_text(enum err_code code);
int err_code_exit_status(enum err_code code);
bool err_code_is_retried(enum err_code code);

/* The code of that name; ERR_FAILED for a name from a newer version. */
enum err_code err_code_by_name(const char *name);

#endif
