#ifndef AGENT_BASE_DIR_H
#define AGENT_BASE_DIR_H

/* Whose a host's base_dir is (recluster/protocol.h): looks, and touches nothing. */

#include <jansson.h>
#include <sys/statvfs.h>

#include "recluster/err.h"

enum base_dir_state {
    BASE_DIR_ABSENT,
    BASE_DIR_EMPTY,    /* but for what any recovery may find there: agent/, lock */
    BASE_DIR_RECOVERY, /* of the one that `recovery` names */
    BASE_DIR_FOREIGN,  /* holds other things; `detail` names the first of them */
};

struct base_dir {
    enum base_dir_state state;
    char *detail;         /* "'a', 'b' and 3 more" */
    json_t *record;       /* recovery.json */
    const char *recovery; /* in the record */
};
#define BASE_DIR_INIT                                                                              \
    {                                                                                              \
        .state = BASE_DIR_ABSENT                                                                   \
    }

int base_dir_look(const char *path, struct base_dir *ret, struct err *err) MUST_CHECK;
void base_dir_release(struct base_dir *base_dir);

/*
 * The file system on which base_dir is, or will be; *ret_folder, the caller's, is base_dir or what
 * there is already of the folders above it. It may be NULL.
 */
int base_dir_disk(
    const char *path, char **ret_folder, struct statvfs *ret, struct err *err) MUST_CHECK;

/* ERR_CHECK if it is foreign, or of a recovery other than `recovery` (NULL: any will do). */
int base_dir_check(const struct base_dir *base_dir, const char *path, const char *recovery,
    struct err *err) MUST_CHECK;

/*
 * ERR_CHECK: it, or a folder above it, belongs to another user than us and root, or may be changed by
 * others: what they put there would be run, or overwritten, as us. What is not there yet is fine; so is
 * a folder above in which only owners rename and remove, as in /tmp.
 */
int base_dir_check_owners(const char *path, struct err *err) MUST_CHECK;

#endif
