#include "systemd_unit.h"

#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "recluster/buf.h"
#include "recluster/child.h"
#include "recluster/digest.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/out_file.h"

enum { SYSTEMCTL_MS = 90 * 1000, SAID_MAX = 64 * 1024, NAME_HASH_DIGITS = 10, WORD_MAX = 60 };

static const char running[] = "/run/systemd/system"; /* sd_booted(3) */
static const char system_units[] = "/etc/systemd/system";

/* --- who runs it --- */

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* In a session without a login shell the variable may be missing. */
static void set_runtime_dir(void)
{
    AUTO_FREE char *dir = xasprintf("/run/user/%u", (unsigned)getuid());
    setenv("XDG_RUNTIME_DIR", dir, 0);
}

static bool lingers(void)
{
    const struct passwd *user = getpwuid(getuid());

    if (!user)
        return false;
    AUTO_FREE char *path = path_join("/var/lib/systemd/linger", user->pw_name);
    AUTO_FREE char *manager = xasprintf("/run/user/%u/systemd", (unsigned)getuid());
    return file_exists(path) && is_folder(manager);
}

enum unit_manager unit_manager(void)
{
    if (!is_folder(running))
        return UNIT_NONE;
    if (geteuid() == 0)
        return UNIT_SYSTEM;
    return lingers() ? UNIT_USER : UNIT_NO_LINGER;
}

const char *unit_manager_name(enum unit_manager manager)
{
    static const char *const names[] = {[UNIT_NONE] = "none",
        [UNIT_NO_LINGER] = "none, no linger",
        [UNIT_USER] = "user",
        [UNIT_SYSTEM] = "system"};

    return names[manager];
}

/* --- its name and place --- */

/* "recluster-db-1-shard-4-0123456789.service": readable, and unique for the folder. */
static char *name_for(const char *path)
{
    char hex[DIGEST_HEX_MAX];
    size_t len = strlen(path), parts = 0, from = len;
    CLEANUP(buf_release) struct buf name = BUF_INIT;

    while (from > 0 && (path[from - 1] != '/' || ++parts < 2))
        from--;
    if (len - from > WORD_MAX)
        from = len - WORD_MAX;
    buf_adds(&name, "recluster-");
    for (const char *p = path + from; *p; p++)
        buf_addc(&name, isalnum((unsigned char)*p) ? *p : '-');
    digest_of(path, len, hex);
    buf_addf(&name, "-%.*s.service", NAME_HASH_DIGITS, hex);
    return xstrdup(name.data);
}

void unit_choose(json_t *record, const char *path)
{
    enum unit_manager manager = unit_manager();

    if (manager != UNIT_SYSTEM && manager != UNIT_USER)
        return;
    AUTO_FREE char *name = name_for(path);
    json_object_set_new(record, "unit", json_string(name));
    json_object_set_new(record, "unit_manager", json_string(unit_manager_name(manager)));
}

bool unit_is_used(const struct shard *shard)
{
    return shard_string(shard, "unit") != NULL;
}

static bool is_users(const struct shard *shard)
{
    const char *manager = shard_string(shard, "unit_manager");
    return manager && strcmp(manager, "user") == 0;
}

/* As sd-path(3) does. */
static int folder_of_units(const struct shard *shard, char **ret, struct err *err)
{
    const char *config = getenv("XDG_CONFIG_HOME");
    const struct passwd *user = getpwuid(getuid());

    if (!is_users(shard)) {
        *ret = xstrdup(system_units);
        return 0;
    }
    if (config && *config == '/') {
        *ret = path_join(config, "systemd/user");
        return 0;
    }
    if (!user)
        return err_sys(err, ERR_NOT_FOUND, "cannot find our own home folder");
    *ret = path_join(user->pw_dir, ".config/systemd/user");
    return 0;
}

static int file_of_unit(const struct shard *shard, char **ret, struct err *err)
{
    AUTO_FREE char *folder = NULL;

    if (folder_of_units(shard, &folder, err) < 0)
        return -1;
    *ret = path_join(folder, shard_string(shard, "unit"));
    return 0;
}

/* --- what it says --- */

/* For a value without quoting, such as a path: only specifiers are escaped. */
static void add_plain(struct buf *out, const char *text)
{
    for (const char *p = text; *p; p++)
        buf_adds(out, *p == '%' ? "%%" : (const char[]){*p, '\0'});
}

/* A quoted word; `dollars`: in a place where variables are expanded. */
static void add_quoted(struct buf *out, const char *text, bool dollars)
{
    buf_addc(out, '"');
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\')
            buf_addf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            buf_addf(out, "\\x%02x", c);
        else if (c == '%' || (c == '$' && dollars))
            buf_addf(out, "%c%c", c, c);
        else
            buf_addc(out, *p);
    }
    buf_addc(out, '"');
}

static void add_environment(struct buf *out, const char *name, const char *value)
{
    AUTO_FREE char *text = xasprintf("%s=%s", name, value);

    buf_adds(out, "Environment=");
    add_quoted(out, text, false);
    buf_addc(out, '\n');
}

/* Takes away what a server does not need, as far as its folder allows. */
static void add_limits(struct buf *out, const struct shard *shard)
{
    const char *user = shard_string(shard, "run_as");
    bool in_tmp =
        strncmp(shard->path, "/tmp/", 5) == 0 || strncmp(shard->path, "/var/tmp/", 9) == 0;

    if (user) {
        buf_adds(out, "User=");
        add_plain(out, user);
        buf_addc(out, '\n');
    }
    buf_adds(out, "NoNewPrivileges=yes\nProtectSystem=full\nProtectKernelTunables=yes\n"
                  "ProtectKernelModules=yes\nProtectControlGroups=yes\nRestrictSUIDSGID=yes\n"
                  "LockPersonality=yes\n");
    if (!in_tmp)
        buf_adds(out, "PrivateTmp=yes\n");
    /* "full" makes /usr, /boot and /etc read-only. */
    buf_adds(out, "ReadWritePaths=");
    add_quoted(out, shard->path, false);
    buf_addc(out, '\n');
}

/*
 * /bin/sh finds the server, whose path is an argument: systemd expands variables in arguments but
 * not in the program's path, and no way to escape them works for both in all versions.
 *
 * There is no PIDFile=. If that file comes a moment late, systemd watches for it. A daemon-reload
 * for another shard ends the watch but not the wait. Without it, the process that is left when the
 * first one has ended is the main process.
 */
static char *unit_text(const struct shard *shard, const char *search_path, bool restarts)
{
    struct buf out = BUF_INIT;
    bool fast = json_flag(shard->record, "fast_load") && !shard_has(shard, SHARD_CONFIGURED);

    buf_adds(&out, "# Made by recluster; `recluster abort` removes it.\n"
                   "[Unit]\nDescription=");
    add_plain(&out, shard->dir);
    buf_adds(&out, " of recluster\n");
    if (!is_users(shard))
        buf_adds(&out, "Wants=network-online.target\nAfter=network-online.target\n");
    buf_adds(&out, "\n[Service]\nType=forking\nWorkingDirectory=");
    add_plain(&out, shard->path);
    buf_addc(&out, '\n');
    add_environment(&out, "PATH", search_path);
    if (fast) { /* server.c */
        add_environment(&out, "MALLOC_CONF", "thp:always");
        add_environment(&out, "JE_MALLOC_CONF", "thp:always");
    }
    buf_addf(&out, "ExecStart=/bin/sh -c \"exec \\\"$$0\\\" redis.conf%s\" ",
        shard_is_sentinel(shard) ? " --sentinel" : "");
    add_quoted(&out, shard_string(shard, "server"), true);
    /* The server may save at its end, which may take long. */
    buf_adds(&out, "\nUMask=0077\nLimitCORE=0\nKillMode=mixed\nTimeoutStopSec=infinity\n");
    if (!is_users(shard))
        add_limits(&out, shard);
    if (restarts)
        buf_adds(&out, "Restart=on-failure\n");
    buf_addf(&out, "\n[Install]\nWantedBy=%s.target\n", is_users(shard) ? "default" : "multi-user");
    return buf_take(&out);
}

/* --- systemctl --- */

static int systemctl(
    const struct shard *shard, const char *verb, bool with_unit, struct buf *said, struct err *err)
{
    const char *argv[5] = {"systemctl"};
    size_t n = 1;

    if (is_users(shard)) {
        set_runtime_dir();
        argv[n++] = "--user";
    }
    argv[n++] = verb;
    if (with_unit)
        argv[n++] = shard_string(shard, "unit");
    return child_run(argv, SYSTEMCTL_MS, SAID_MAX, said, err) < 0
               ? err_wrap(err, "systemctl %s", verb)
               : 0;
}

static int run(const struct shard *shard, const char *verb, bool with_unit, struct err *err)
{
    CLEANUP(buf_release) struct buf said = BUF_INIT;
    return systemctl(shard, verb, with_unit, &said, err);
}

static int write_unit(const struct shard *shard, bool restarts, struct err *err)
{
    const char *search_path = getenv("PATH");
    AUTO_FREE char *text =
        unit_text(shard, search_path ? search_path : "/usr/local/bin:/usr/bin:/bin", restarts);
    AUTO_FREE char *folder = NULL;
    AUTO_FREE char *file = NULL;

    if (folder_of_units(shard, &folder, err) < 0 || dir_make(folder, 0755, err) < 0 ||
        file_of_unit(shard, &file, err) < 0 ||
        out_file_write(file, text, strlen(text), 0644, OUT_FILE_REPLACE, err) < 0)
        return -1;
    return run(shard, "daemon-reload", false, err);
}

int unit_start(const struct shard *shard, struct err *err)
{
    if (!unit_is_used(shard))
        return 0;
    if (write_unit(shard, shard_has(shard, SHARD_OPENED), err) < 0)
        return -1;
    if (run(shard, "start", true, err) == 0)
        return 0;
    return err_hint(err, "Its log: journalctl %s-u %s", is_users(shard) ? "--user " : "",
        shard_string(shard, "unit"));
}

int unit_enable(const struct shard *shard, struct err *err)
{
    if (!unit_is_used(shard))
        return 0;
    return write_unit(shard, true, err) < 0 || run(shard, "enable", true, err) < 0 ? -1 : 0;
}

/* Whether the unit has a file. *ret_file is the caller's. */
static bool is_installed(const struct shard *shard, char **ret_file, int *rc, struct err *err)
{
    *rc = unit_is_used(shard) ? file_of_unit(shard, ret_file, err) : 0;
    return *ret_file && file_exists(*ret_file);
}

int unit_disable(const struct shard *shard, struct err *err)
{
    AUTO_FREE char *file = NULL;
    int rc;

    if (!is_installed(shard, &file, &rc, err))
        return rc;
    return write_unit(shard, false, err) < 0 || run(shard, "disable", true, err) < 0 ? -1 : 0;
}

int unit_remove(const struct shard *shard, struct err *err)
{
    AUTO_FREE char *file = NULL;
    struct err ignored = ERR_INIT;
    int rc;

    if (!is_installed(shard, &file, &rc, err))
        return rc;
    /* The server has ended. These may fail: the unit was never enabled, or has not failed. */
    (void)!run(shard, "disable", true, &ignored);
    (void)!run(shard, "stop", true, &ignored);
    (void)!run(shard, "reset-failed", true, &ignored);
    if (unlink(file) < 0 && errno != ENOENT)
        return err_sys(err, ERR_IO, "cannot remove '%s'", file);
    return run(shard, "daemon-reload", false, err);
}

char *unit_state(const struct shard *shard)
{
    CLEANUP(buf_release) struct buf said = BUF_INIT;
    struct err ignored = ERR_INIT; /* the exit status is 0 only for "active" */

    if (!unit_is_used(shard))
        return NULL;
    (void)!systemctl(shard, "is-active", true, &said, &ignored);
    return xstrndup(said.data ? said.data : "", said.data ? strcspn(said.data, "\n") : 0);
}
