#include "run_as.h"

#include <pwd.h>

int run_as_find(const char *user, uid_t *ret_uid, gid_t *ret_gid, struct err *err)
{
    const struct passwd *found = getpwnam(user);

    if (!found) {
        err_set(err, ERR_NOT_FOUND, "there is no user '%s' on this host", user);
        return err_hint(
            err, "Make that user, or name another one with \"run_as\" in the hosts file.");
    }
    *ret_uid = found->pw_uid;
    *ret_gid = found->pw_gid;
    return 0;
}
