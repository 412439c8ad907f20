#include "recluster/link_location.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/link.h"
#include "recluster/mem.h"
#include "shell.h"

enum { SSH_PORT = 22 };

static void copy_member(json_t *to, const char *name, const json_t *from, const char *from_name)
{
    json_t *value = json_object_get(from, from_name);
    if (value)
        json_object_set(to, name, value);
}

static void set_identity(json_t *location, const json_t *login)
{
    const char *identity = json_text(login, "identity", NULL);
    AUTO_FREE char *path = identity ? path_expand_home(identity) : NULL;

    if (path)
        json_object_set_new(location, "key", json_pack("{s:s}", "file", path));
}

/* A login of the hosts file in the form of a location (src/store/sftp/driver.c). */
static json_t *over_ssh(const struct link_folder *folder, const char *addr)
{
    const json_t *login = folder->spec, *port = json_object_get(login, "port");
    const struct passwd *me = getpwuid(getuid());
    bool v6 = strchr(addr, ':') != NULL;
    AUTO_FREE char *url = xasprintf("sftp://%s%s%s:%d/", v6 ? "[" : "", addr, v6 ? "]" : "",
        json_is_integer(port) ? (int)json_integer_value(port) : SSH_PORT);
    json_t *location = json_pack("{s:s, s:s, s:s, s:s}", "type", "sftp", "sftp_url", url, "user",
        me ? me->pw_name : "root", "path", folder->path);

    if (!location)
        return NULL;
    copy_member(location, "user", login, "user");
    copy_member(location, "password", login, "password");
    copy_member(location, "key_password", login, "passphrase");
    copy_member(location, "known_hosts", login, "known_hosts");
    set_identity(location, login);
    /* The login stays on this machine, which relays the files, unless the hosts may have it. */
    bool own = !json_object_get(login, "identity") && !json_object_get(login, "password");
    bool shared = json_flag(login, "share_login") && !own;
    bool relay = !shared || json_flag(login, "relay");
    copy_member(location, "share_login", login, "share_login");
    json_object_set_new(location, "relay", json_boolean(relay));
    return location;
}

static json_t *over_command(const struct link_folder *folder, const char *addr, struct err *err)
{
    json_t *spec = json_copy((json_t *)(uintptr_t)folder->spec), *words = json_array();
    char **argv;

    if (addr)
        json_object_set_new(spec, "addr", json_string(addr));
    const struct link_target target = {.host = folder->name, .kind = folder->kind, .spec = spec};
    int rc = command_argv(&target, &argv, err);
    size_t count = 0;
    for (; rc == 0 && argv[count]; count++)
        json_array_append_new(words, json_string(argv[count]));
    if (rc == 0)
        strv_free(argv, count);
    json_decref(spec);
    json_t *location = rc == 0
                           ? json_pack("{s:s, s:O, s:s, s:s, s:b}", "type", "command", "command",
                                 words, "name", folder->name, "path", folder->path, "relay", 1)
                           : NULL;
    json_decref(words);
    return location;
}

json_t *link_location(const struct link_folder *folder, struct err *err)
{
    const char *addr = folder->addr ? folder->addr : json_text(folder->spec, "addr", NULL);
    struct err why = ERR_INIT;
    json_t *location = NULL;

    if (strcmp(folder->kind, "command") == 0) {
        location = over_command(folder, addr, &why);
    } else if (strcmp(folder->kind, "local") == 0) {
        location =
            json_pack("{s:s, s:s, s:b}", "type", "mount_point", "path", folder->path, "relay", 1);
    } else if (!addr) {
        err_set(&why, ERR_USAGE, "its address is not known");
        err_hint(&why, "Add \"addr\" to its entry in the hosts file.");
    } else {
        location = over_ssh(folder, addr);
    }
    if (!location && !why.code)
        err_set(&why, ERR_USAGE, "the name of the folder '%s' is not UTF-8", folder->path);
    if (!location) {
        *err = why;
        err_wrap(err, "'%s'", folder->name);
    }
    return location;
}
