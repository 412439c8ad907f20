/*
 * live_from_folders(): servers that no longer run, as their data folders describe them. What a
 * configuration file does not say is the server's default, and is not known here.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "answers.h"
#include "conf_line.h"
#include "folder_checks.h"
#include "recluster/clock.h"
#include "recluster/digest.h"
#include "recluster/file.h"
#include "recluster/store.h"
#include "topology.h"

enum {
    CONF_BYTES_MAX = 4 << 20,
    SETTINGS_MAX = 5000,
    INCLUDE_DEPTH_MAX = 8,
    INCLUDES_MAX = 100,
};

/* --- one folder --- */

struct folder {
    struct live *live;
    struct live_server *server;
    const struct live_folder *from;
    const char *name;    /* prefix and path, for messages */
    struct store *store; /* of the folder; NULL: not opened yet */
    const char **users;
    size_t user_count, setting_alloc, module_alloc, user_alloc;
    size_t depth, includes; /* of configuration files */
    bool lacks_include;     /* a file that one of them names is missing */
    bool has_other_lines;   /* such as no configuration file has */
};

static void set_setting(struct folder *f, const char *name, const char *value)
{
    struct live_server *s = f->server;

    for (size_t i = 0; i < s->setting_count; i++)
        if (strcmp(s->settings[i].name, name) == 0) {
            s->settings[i].value = value;
            return;
        }
    if (s->setting_count == f->setting_alloc) {
        size_t alloc = f->setting_alloc ? 2 * f->setting_alloc : 32;
        struct live_setting *more = arena_alloc(&f->live->arena, alloc * sizeof(*more));
        if (s->setting_count)
            memcpy(more, s->settings, s->setting_count * sizeof(*more));
        s->settings = more;
        f->setting_alloc = alloc;
    }
    s->settings[s->setting_count++] = (struct live_setting){name, value};
}

static void add_module(struct folder *f, const struct conf_line *line)
{
    struct live_server *s = f->server;
    const char **args = arena_alloc(&f->live->arena, line->count * sizeof(*args));
    AUTO_FREE char *name = xstrdup(path_base(line->words[1]));

    if (s->module_count == f->module_alloc) {
        size_t alloc = f->module_alloc ? 2 * f->module_alloc : 8;
        struct live_module *more = arena_alloc(&f->live->arena, alloc * sizeof(*more));
        if (s->module_count)
            memcpy(more, s->modules, s->module_count * sizeof(*more));
        s->modules = more;
        f->module_alloc = alloc;
    }
    for (size_t i = 2; i < line->count; i++)
        args[i - 2] = line->words[i];
    name[strcspn(name, ".")] = '\0';
    s->modules[s->module_count++] = (struct live_module){
        .name = arena_strdup(&f->live->arena, name), .path = line->words[1], .args = args};
}

/*
 * As ACL LIST shows it: a clear password becomes its hash. `raw` is the whole line, since a user may
 * have any number of rules.
 */
static void add_user(struct folder *f, const char *raw)
{
    struct arena *arena = &f->live->arena;
    struct buf line = BUF_INIT;
    char hash[DIGEST_HEX_MAX];

    for (raw += strspn(raw, " \t\r"); *raw; raw += strspn(raw, " \t\r")) {
        const char *word = conf_next_word(arena, &raw);
        bool clear = *word == '>';
        buf_addf(&line, "%s%s%s", line.len ? " " : "", clear ? "#" : "",
            clear ? digest_of(word + 1, strlen(word + 1), hash) : word);
    }
    GROW(f->users, f->user_count, f->user_alloc);
    f->users[f->user_count++] = arena_strdup(arena, line.data);
    buf_release(&line);
}

static char *lower_case(struct arena *arena, const char *text)
{
    char *lower = arena_strdup(arena, text);

    for (char *p = lower; *p; p++)
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p | 0x20 : *p);
    return lower;
}

/* A later line for the same command counts. */
static void add_renamed(struct folder *f, const struct conf_line *line)
{
    struct live_server *s = f->server;
    const char *name = lower_case(&f->live->arena, line->words[1]);
    size_t i = 0;

    if (!*name || name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-")])
        return;
    while (i < s->renamed_count && strcmp(s->renamed[i].name, name) != 0)
        i++;
    if (i == s->renamed_count) {
        struct live_rename *more =
            arena_alloc(&f->live->arena, (s->renamed_count + 1) * sizeof(*more));
        if (i)
            memcpy(more, s->renamed, i * sizeof(*more));
        s->renamed = more;
        s->renamed_count++;
    }
    s->renamed[i] = (struct live_rename){name, line->count > 2 ? line->words[2] : ""};
}

/* "save" lines add up, and an empty one ends those before; other settings replace each other. */
static void take_line(struct folder *f, const struct conf_line *line, const char *raw)
{
    struct arena *arena = &f->live->arena;
    const char *name = line->words[0];

    if (line->count < 2)
        return;
    if (strcasecmp(name, "user") == 0) {
        add_user(f, raw);
    } else if (strcasecmp(name, "loadmodule") == 0) {
        add_module(f, line);
    } else if (strcasecmp(name, "save") == 0) {
        const char *before = live_setting_unsorted(f->server, "save"),
                   *value = conf_line_join(arena, line, 1);
        set_setting(f, "save",
            before && *before && *value ? arena_printf(arena, "%s %s", before, value) : value);
    } else if (strcasecmp(name, "client-output-buffer-limit") == 0) {
        const char *before = live_setting_unsorted(f->server, name),
                   *value = conf_line_join(arena, line, 1);
        set_setting(f, "client-output-buffer-limit",
            before ? arena_printf(arena, "%s %s", before, value) : value);
    } else if (strcasecmp(name, "rename-command") == 0) {
        add_renamed(f, line);
    } else {
        set_setting(
            f, lower_case(arena, name), conf_plain_number(arena, conf_line_join(arena, line, 1)));
    }
}

static int read_lines(struct folder *f, const char *path, bool *ret_found, struct err *err);

/*
 * Reads the file that an "include" or "aclfile" names: the one of that name in the folder, or else
 * the one at that path, if it has the usual ending; the line may be anyone's.
 */
static int read_named(
    struct folder *f, const char *word, const char *ending, bool *ret_found, struct err *err)
{
    AUTO_FREE char *beside = path_join(f->from->path, *word == '/' ? path_base(word) : word);
    size_t len = strlen(word), end = strlen(ending);

    *ret_found = false;
    if (!strstr(word, "../") && read_lines(f, beside, ret_found, err) < 0)
        return -1;
    if (*ret_found || *word != '/' || len <= end || strcmp(word + len - end, ending) != 0)
        return 0;
    return read_lines(f, word, ret_found, err);
}

static int follow_include(
    struct folder *f, const char *from, const struct conf_line *line, struct err *err)
{
    for (size_t i = 1; i < line->count; i++) {
        bool found;
        if (f->depth == INCLUDE_DEPTH_MAX || f->includes == INCLUDES_MAX)
            return err_set(err, ERR_LIMIT, "'%s' includes too many files: more than %d, or %d deep",
                from, INCLUDES_MAX, INCLUDE_DEPTH_MAX);
        f->includes++;
        f->depth++;
        int rc = read_named(f, line->words[i], ".conf", &found, err);
        f->depth--;
        if (rc < 0)
            return -1;
        f->includes -= !found;
        if (!found) {
            f->lacks_include = true;
            live_note(f->live, "include-missing",
                "'%s' includes '%s', which is not there: what it sets is not known. Copy it to "
                "'%s'",
                from, line->words[i], f->name);
        }
    }
    return 0;
}

static int read_conf(struct folder *f, const char *name, bool *ret_found, struct err *err)
{
    AUTO_FREE char *path = path_join(f->from->path, name);

    return read_lines(f, path, ret_found, err);
}

static int add_bytes(void *arg, const void *data, size_t len, struct err *err)
{
    return buf_add_limited(arg, data, len, CONF_BYTES_MAX, "a configuration file", err);
}

/* The folder's own store is kept: opening one may be a login. */
static struct store *store_of(struct folder *f, const char *path, struct err *err)
{
    AUTO_FREE char *dir = path_dir(path);
    bool own = strcmp(dir, f->from->path) == 0;

    if (own && f->store)
        return f->store;
    json_t *location = json_copy((json_t *)(uintptr_t)f->from->location);
    json_object_set_new(location, "path", json_string(dir));
    struct store *store = store_open_resolved(location, err);
    json_decref(location);
    if (own)
        f->store = store;
    return store;
}

static int read_text(
    struct folder *f, const char *path, struct buf *text, bool *ret_found, struct err *err)
{
    struct err failure = ERR_INIT;
    struct store *store = store_of(f, path, err);

    if (!store)
        return err_wrap(err, "'%s%s'", f->from->prefix, path);
    const struct store_range whole = {path_base(path), 0, -1};
    int rc = store_read(store, &whole, add_bytes, text, NULL, &failure);
    if (store != f->store)
        store_close(store);
    *ret_found = rc == 0;
    if (rc == 0 || failure.code == ERR_NOT_FOUND)
        return 0;
    *err = failure;
    return err_wrap(err, "'%s%s'", f->from->prefix, path);
}

static int read_lines(struct folder *f, const char *path, bool *ret_found, struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    AUTO_FREE char *shown = xasprintf("%s%s", f->from->prefix, path);
    struct conf_line line;
    char *rest;

    if (read_text(f, path, &text, ret_found, err) < 0)
        return -1;
    for (char *raw = strtok_r(text.data, "\n", &rest); raw; raw = strtok_r(NULL, "\n", &rest)) {
        raw += strspn(raw, " \t");
        conf_line_split(&f->live->arena, raw, &line);
        f->has_other_lines |= line.count && !conf_line_is_setting(raw, &line);
        bool include = line.count && strcasecmp(line.words[0], "include") == 0;
        if (include && follow_include(f, shown, &line, err) < 0)
            return -1;
        if (line.count && !include)
            take_line(f, &line, raw);
        if (f->server->setting_count > SETTINGS_MAX)
            return err_set(err, ERR_LIMIT, "'%s' has more than %d settings", shown, SETTINGS_MAX);
    }
    return 0;
}

static int read_nodes_conf(struct folder *f, struct err *err)
{
    const char *set = live_setting_unsorted(f->server, "cluster-config-file");
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    AUTO_FREE char *path = path_join(f->from->path, set && *set ? path_base(set) : "nodes.conf");
    struct live_server *s = f->server;
    size_t lines = 1;
    char *rest;
    bool found;

    if (read_text(f, path, &text, &found, err) < 0)
        return -1;
    if (!found)
        return 0;
    for (const char *p = text.data; *p; p++)
        lines += *p == '\n';
    s->mode = LIVE_CLUSTER;
    s->nodes = arena_alloc(&f->live->arena, lines * sizeof(*s->nodes));
    for (char *line = strtok_r(text.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (sscanf(line, "vars currentEpoch %" SCNd64, &s->epoch) == 1 ||
            strncmp(line, "vars", 4) == 0)
            continue;
        if (!node_parse(&f->live->arena, line, &s->nodes[s->node_count++])) /* all is given up */
            return err_set(err, ERR_CORRUPT, "'%s%s' has a line that is not one of a node",
                f->from->prefix, path);
    }
    nodes_sort(s);
    return live_myself(s) ? 0
                          : err_set(err, ERR_CORRUPT, "'%s%s' does not say which node it is of",
                                f->from->prefix, path);
}

/* The address that others knew it by, as far as the folder says. */
static void find_address(struct folder *f)
{
    static const char *const names[] = {
        "cluster-announce-ip", "replica-announce-ip", "slave-announce-ip", "bind"};
    struct live_server *s = f->server;
    const struct live_node *own = live_myself(s);
    const char *port = live_setting_unsorted(s, "port");
    const char *tls_port = live_setting_unsorted(s, "tls-port");

    s->port = port && atoi(port) > 0 ? atoi(port) : tls_port ? atoi(tls_port) : 6379;
    s->addr = own ? own->addr : "";
    if (own)
        s->port = own->port;
    for (size_t i = 0; i < ARRAY_SIZE(names) && !*s->addr; i++) {
        const char *value = live_setting_unsorted(s, names[i]);
        if (value && *value != '*' && *value != '-' && strncmp(value, "0.0.0.0", 7) != 0)
            s->addr = arena_memdup(&f->live->arena, value, strcspn(value, " "));
    }
    if (!*s->addr)
        s->addr = f->from->addr ? arena_strdup(&f->live->arena, f->from->addr) : "127.0.0.1";
}

/* As INFO says it. */
static void make_info(struct folder *f)
{
    struct live_server *s = f->server;
    const char *primary = live_setting_unsorted(s, "replicaof");
    struct conf_line line = {.count = 0};

    if (!primary)
        primary = live_setting_unsorted(s, "slaveof");
    if (primary)
        conf_line_split(&f->live->arena, primary, &line);
    bool replica = line.count == 2 && strcasecmp(line.words[0], "no") != 0;
    s->info = replica ? arena_printf(&f->live->arena,
                            "role:slave\nmaster_host:%s\nmaster_port:%s\nrun_id:%s\n",
                            line.words[0], line.words[1], f->name)
                      : arena_printf(&f->live->arena, "role:master\nrun_id:%s\n", f->name);
}

static void tell_of_configuration(struct folder *f)
{
    if (f->server->settings_unknown)
        live_note(f->live, "configuration-missing",
            "'%s' has no redis.conf or valkey.conf: password, users, TLS, limits and modules are "
            "not known. Copy the file there, if it was elsewhere",
            f->name);
}

static int read_users(struct folder *f, bool *ret_missing, struct err *err)
{
    const char *set = live_setting_unsorted(f->server, "aclfile");
    const bool named = set && *set;
    bool found;

    *ret_missing = false;
    if (!named)
        return read_conf(f, "users.acl", &found, err);
    if (read_named(f, set, ".acl", &found, err) < 0)
        return -1;
    *ret_missing = !found;
    if (!found)
        live_note(f->live, "users-missing",
            "the configuration in '%s' names the file of its users, '%s', which is not there: "
            "users and passwords are not known. Copy it to '%s'",
            f->name, set, f->name);
    return 0;
}

/* No setting names a file that was not read, but could say who may log in. */
static bool knows_login(const struct folder *f)
{
    const char *password = live_setting_unsorted(f->server, "requirepass");

    return !f->lacks_include || f->user_count || (password && *password);
}

/* The file was named by the operator, who may have named another one. */
static int check_configuration(const struct folder *f, bool found, struct err *err)
{
    const struct live_server *s = f->server;
    bool some = s->setting_count || s->module_count || f->user_count;

    if (!found)
        return err_set(err, ERR_NOT_FOUND, "'%s/%s' does not exist", f->name, f->from->conf);
    if (some && !f->has_other_lines)
        return 0;
    err_set(err, ERR_CHECK, "'%s/%s' is not the configuration of a server", f->name, f->from->conf);
    return err_hint(err, "Name the redis.conf or valkey.conf of one of the old servers.");
}

/* Its configuration files; *ret_conf: there is one besides the users. */
static int read_settings(struct folder *f, bool *ret_conf, struct err *err)
{
    bool other = false, lacks_users;

    if (read_conf(f, f->from->conf ? f->from->conf : "redis.conf", ret_conf, err) < 0 ||
        (!f->from->conf && read_conf(f, "valkey.conf", &other, err) < 0))
        return -1;
    if (f->from->conf && check_configuration(f, *ret_conf, err) < 0)
        return -1;
    if (read_users(f, &lacks_users, err) < 0)
        return -1;
    *ret_conf |= other;
    f->server->login_unknown = !*ret_conf || lacks_users || !knows_login(f);
    return 0;
}

static int read_folder(struct live *live, const struct live_folder *from, struct err *err)
{
    struct live_server *s = arena_alloc(&live->arena, sizeof(*s));
    struct folder f = {.live = live,
        .server = s,
        .from = from,
        .name = arena_printf(&live->arena, "%s%s", from->prefix, from->path)};
    bool conf;
    int rc = 0;

    s->epoch = -1;
    s->answered = true;
    s->state_ok = true;
    s->folder = f.name;
    if (read_settings(&f, &conf, err) < 0 || (!from->conf && read_nodes_conf(&f, err) < 0))
        rc = -1;
    else if (!conf && !s->node_count) {
        err_set(err, ERR_CHECK, "'%s' is not the data folder of a server", f.name);
        rc = err_hint(err, "It should have redis.conf, valkey.conf or nodes.conf. Copy the "
                           "configuration file there, if it was elsewhere.");
    }
    if (rc == 0) {
        s->settings_unknown = !conf;
        tell_of_configuration(&f);
        if (f.user_count) {
            const char **users = arena_alloc(&live->arena, (f.user_count + 1) * sizeof(*users));
            memcpy(users, f.users, f.user_count * sizeof(*users));
            s->users = users;
        }
        /* The folder as it is now: there the files are. */
        set_setting(&f, "dir", arena_strdup(&live->arena, from->path));
        find_address(&f);
        make_info(&f);
        settings_sort(s);
        if (!store_location_is_folder(from->location))
            rc = folder_note_listed(live, s, f.store, err);
    }
    if (rc == 0) {
        GROW(live->servers, live->count, live->alloc);
        live->servers[live->count++] = s;
    }
    free(f.users);
    store_close(f.store);
    return rc;
}

int live_from_folders(
    const struct live_folder *folders, size_t count, struct live **ret, struct err *err)
{
    struct live *live = xcalloc(1, sizeof(*live));

    arena_init(&live->arena);
    live->asked_ms = clock_wall_ms();
    for (size_t i = 0; i < count; i++) {
        bool here = store_location_is_folder(folders[i].location);
        int rc = here ? folder_check_idle(folders[i].path, err) : 0;
        if (rc == 0)
            rc = read_folder(live, &folders[i], err);
        if (rc < 0) {
            live_free(live);
            return -1;
        }
    }
    topology_find(live);
    if (folders_check(live, err) < 0) {
        live_free(live);
        return -1;
    }
    *ret = live;
    return 0;
}

int live_from_settings(const struct live_folder *folder, struct live **ret, struct err *err)
{
    struct live *live = xcalloc(1, sizeof(*live));

    arena_init(&live->arena);
    live->asked_ms = clock_wall_ms();
    if (read_folder(live, folder, err) < 0) {
        live_free(live);
        return -1;
    }
    topology_find(live);
    *ret = live;
    return 0;
}
