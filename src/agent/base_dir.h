#ifndef AGENT_BASE_DIR_H
#define AGENT_BASE_DIR_H

/* Which recovery a host's base_dir belongs to (recluster/protocol.h). These functions only read. */

#include <jansson.h>
#include <sys/statvfs.h>

#include "recluster/err.h"

enum base_dir_state {
    BASE_DIR_ABSENT,
    BASE_DIR_EMPTY,    /* empty but for entries that any recovery may leave: agent/, lock */
    BASE_DIR_RECOVERY, /* belongs to the recovery that `recovery` names */
    BASE_DIR_FOREIGN,  /* holds other files; `detail` names the first of them */
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
 * The file system of base_dir. *ret_folder, the caller's, is base_dir, or the nearest folder above
 * it that exists. It may be NULL.
 */
int base_dir_disk(
    const char *path, char **ret_folder, struct statvfs *ret, struct err *err) MUST_CHECK;

/* ERR_CHECK if base_dir holds other files or belongs to another recovery (NULL: any is fine). */
int base_dir_check(const struct base_dir *base_dir, const char *path, const char *recovery,
    struct err *err) MUST_CHECK;

/*
 * ERR_CHECK if base_dir or a folder above it belongs to another user (not us, not root) or others
 * may write to it: we would run or overwrite what they put there. A folder that does not exist yet
 * is fine. So is a sticky folder above base_dir, such as /tmp.
 */
int base_dir_check_owners(const char *path, struct err *err) MUST_CHECK;

#endif
