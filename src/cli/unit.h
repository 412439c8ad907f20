#ifndef CLI_UNIT_H
#define CLI_UNIT_H

/*
 * Units of systemd that run a command as it was given (--unit). Printed, not installed.
 */

#include "command.h"

struct unit {
    const char *name;           /* "recluster-backup": of the unit, and of its folder for state */
    const char *description;    /* "takes a backup of a cluster" */
    const char *words;          /* "backup": the command, and options that are always there */
    const enum option *options; /* those that are passed on */
    int64_t every_s;            /* a timer starts it so often; 0: it runs on */
};

/* ERR_USAGE if systemd would read an argument in another way than a shell. */
int unit_print(const struct arguments *args, const struct unit *unit, struct err *err) MUST_CHECK;

#endif
