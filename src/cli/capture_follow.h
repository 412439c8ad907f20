#ifndef CLI_CAPTURE_FOLLOW_H
#define CLI_CAPTURE_FOLLOW_H

/* What `capture` does besides a single capture: --follow, --check and --unit. */

#include "command.h"
#include "recluster/capture.h"
#include "recluster/store.h"

/* --from; the words own the names. */
struct capture_files {
    struct capture_file *list;
    char **words;
    size_t count;
};
int capture_files_open(
    const struct arguments *args, struct capture_files *ret, struct err *err) MUST_CHECK;
void capture_files_release(struct capture_files *files);

struct capture_run {
    const struct arguments *args;
    const struct live_request *request; /* NULL: with files */
    const struct capture_files *files;
    struct store **stores;
    size_t store_count;
    int64_t wait_s;
};

/* The exit status: that of the signal that ended it. */
int capture_run_follow(const struct capture_run *run, struct err *err) MUST_CHECK;

/* Whether the file at each location is true and young enough; the exit status is 1 if one is not. */
int capture_check(
    const struct arguments *args, struct store **stores, size_t count, struct err *err) MUST_CHECK;

int capture_print_unit(const struct arguments *args, struct err *err) MUST_CHECK;

#endif
