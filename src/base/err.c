#include "recluster/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int exit_status;
    bool retried;
    const char *text;
} codes[] = {
#define ERR_ROW(id, name, status, retried, text) [id] = {name, status, retried, text},
    ERR_CODES(ERR_ROW)
#undef ERR_ROW
};

PRINTF_LIKE(3, 0)
static void format(char *out, size_t size, const char *fmt, va_list args)
{
    int n = vsnprintf(out, size, fmt, args);
    if (n < 0)
        snprintf(out, size, "(message could not be formatted)");
    else if ((size_t)n >= size)
        memcpy(out + size - 4, "...", 4);
}

int err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    va_list args;

    err->code = code;
    err->sys = 0;
    err->hint[0] = '\0';
    va_start(args, fmt);
    format(err->message, sizeof(err->message), fmt, args);
    va_end(args);
    return -1;
}

int err_sys(struct err *err, enum err_code code, const char *fmt, ...)
{
    int sys = errno;
    char what[sizeof(err->message)], why[128];
    va_list args;

    va_start(args, fmt);
    format(what, sizeof(what), fmt, args);
    va_end(args);
    bool full = sys == ENOSPC || sys == EDQUOT;
    err_set(err, full ? ERR_SPACE : code, "%s: %s", what, strerror_r(sys, why, sizeof(why)));
    err->sys = sys;
    if (full)
        err_hint(err, "Make room on that file system and run the same command again.");
    return -1;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
    char what[sizeof(err->message)], old[sizeof(err->message)];
    va_list args;

    va_start(args, fmt);
    format(what, sizeof(what), fmt, args);
    va_end(args);
    memcpy(old, err->message, sizeof(old));
    int n = snprintf(err->message, sizeof(err->message), "%s: %s", what, old);
    if (n >= (int)sizeof(err->message))
        memcpy(err->message + sizeof(err->message) - 4, "...", 4);
    return -1;
}

int err_hint(struct err *err, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    format(err->hint, sizeof(err->hint), fmt, args);
    va_end(args);
    return -1;
}

const char *err_code_name(enum err_code code)
{
    return codes[code].name;
}

const char *err_code_text(enum err_code code)
{
    return codes[code].text;
}

int err_code_exit_status(enum err_code code)
{
    return codes[code].exit_status;
}

bool err_code_is_retried(enum err_code code)
{
    return codes[code].retried;
}

enum err_code err_code_by_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
        if (strcmp(codes[i].name, name) == 0)
            return (enum err_code)i;
    return ERR_FAILED;
}
