#include "folder_checks.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recluster/buf.h"
#include "recluster/file.h"

void live_note(struct live *live, const char *code, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    AUTO_FREE char *text = xvasprintf(fmt, args);
    va_end(args);
    GROW(live->notes, live->note_count, live->note_alloc);
    live->notes[live->note_count++] = (struct live_note){code, arena_strdup(&live->arena, text)};
}

/* --- a server that still runs there --- */

static bool is_server(const char *pid, char name[32])
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    struct err ignored = ERR_INIT;
    char path[64];

    snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
    if (file_read(path, 4096, &text, &ignored) < 0)
        return false;
    snprintf(name, 32, "%.*s", (int)strcspn(text.data, "\n"), text.data);
    return strstr(name, "redis") || strstr(name, "valkey");
}

int folder_check_idle(const char *path, struct err *err)
{
    struct err ignored = ERR_INIT;
    char **names, link[64], name[32], folder[4096];
    size_t count;
    int rc = 0;

    if (dir_list("/proc", &names, &count, &ignored) < 0)
        return 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        if (!isdigit((unsigned char)names[i][0]))
            continue;
        snprintf(link, sizeof(link), "/proc/%.20s/cwd", names[i]);
        ssize_t len = readlink(link, folder, sizeof(folder) - 1);
        if (len < 0)
            continue;
        folder[len] = '\0';
        if (strcmp(folder, path) != 0 || !is_server(names[i], name))
            continue;
        err_set(
            err, ERR_CHECK, "a server still runs in '%s': process %s (%s)", path, names[i], name);
        rc = err_hint(err, "Its files change while they are read. Stop it, or recover from a copy "
                           "of the folder.");
    }
    strv_free(names, count);
    return rc;
}

/* --- folders that do not belong together --- */

static const char *folder_of(const struct live_server *s)
{
    return s->folder;
}

static int check_one_cluster(const struct live *live, struct err *err)
{
    for (size_t i = 1; i < live->database_count; i++) {
        const struct live_database *a = &live->databases[0], *b = &live->databases[i];
        if (!a->cluster && !b->cluster)
            continue;
        err_set(err, ERR_CHECK, "'%s' and '%s' are not of the same cluster", folder_of(a->first),
            folder_of(b->first));
        return err_hint(err, "Neither has the other in its nodes.conf. Leave out the folders that "
                             "are of another cluster; recover that one by itself.");
    }
    return 0;
}

static int check_twice(const struct live *live, struct err *err)
{
    for (size_t i = 0; i < live->count; i++)
        for (size_t k = 0; k < i; k++) {
            const struct live_server *a = live->servers[k], *b = live->servers[i];
            const struct live_node *x = live_myself(a), *y = live_myself(b);
            if (!x || !y || strcmp(x->id, y->id) != 0)
                continue;
            err_set(err, ERR_CHECK, "'%s' and '%s' are both of the node %s", folder_of(a),
                folder_of(b), x->id);
            return err_hint(err, "One is a copy of the other, or older. Leave out one of them: the "
                                 "one with the newer files is right.");
        }
    return 0;
}

/* --- slots that two primaries claim --- */

static struct live_node *own_node(const struct live_server *s)
{
    for (size_t i = 0; i < s->node_count; i++)
        if (s->nodes[i].myself)
            return &s->nodes[i];
    return NULL;
}

static int settle_claim(
    struct live *live, const struct live_server *a, const struct live_server *b, struct err *err)
{
    struct live_node *x = own_node(a), *y = own_node(b);
    struct slots both = x->slots;

    slots_intersect(&both, &y->slots);
    if (x->primary_id || y->primary_id || slots_is_empty(&both))
        return 0;
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    slots_format(&both, &text);
    if (x->epoch == y->epoch) {
        err_set(err, ERR_CHECK, "'%s' and '%s' both claim the slots %s, in the same epoch %" PRId64,
            folder_of(a), folder_of(b), text.data, x->epoch);
        return err_hint(err, "Nothing tells which of them had these slots last. Leave out one of "
                             "the folders.");
    }
    const struct live_server *newer = x->epoch > y->epoch ? a : b;
    struct live_node *loser = newer == a ? y : x;
    live_note(live, "slots-claimed-twice",
        "'%s' (epoch %" PRId64 ") and '%s' (epoch %" PRId64
        ") both claim the slots %s: the later epoch counts, so '%s' has them. To take "
        "the other one's keys, leave '%s' out",
        folder_of(a), x->epoch, folder_of(b), y->epoch, text.data, folder_of(newer),
        folder_of(newer));
    slots_subtract(&loser->slots, &both);
    return 0;
}

static int settle_claims(struct live *live, struct err *err)
{
    for (size_t i = 0; i < live->count; i++)
        for (size_t k = 0; k < i; k++)
            if (own_node(live->servers[i]) && own_node(live->servers[k]) &&
                settle_claim(live, live->servers[k], live->servers[i], err) < 0)
                return -1;
    return 0;
}

/* --- the view that counts --- */

/* Each node knows itself best. */
static void tell_of_itself(struct live *live, struct live_server *view)
{
    for (size_t i = 0; i < view->node_count; i++)
        for (size_t k = 0; k < live->count; k++) {
            const struct live_node *own = own_node(live->servers[k]);
            struct live_node *seen = &view->nodes[i];
            if (!own || live->servers[k] == view || strcmp(own->id, seen->id) != 0)
                continue;
            seen->slots = own->slots;
            seen->primary_id = own->primary_id;
            seen->replica = own->replica;
            seen->epoch = own->epoch;
        }
}

/* The server with the latest epoch speaks for the cluster. */
static void choose_first(struct live *live, struct live_database *db)
{
    for (size_t i = 0; i < db->count; i++)
        if (db->servers[i]->epoch > db->first->epoch && live_is_primary(live, db->servers[i]))
            db->first = db->servers[i];
    for (size_t i = 0; i < db->count; i++)
        if (db->servers[i]->epoch < db->first->epoch)
            live_note(live, "older-epoch",
                "'%s' was left at epoch %" PRId64 " of the cluster, '%s' at %" PRId64
                ": where they differ, the later one counts",
                folder_of(db->servers[i]), db->servers[i]->epoch, folder_of(db->first),
                db->first->epoch);
}

static bool has_folder(const struct live_database *db, const struct live_node *node)
{
    for (size_t i = 0; i < db->count; i++) {
        const struct live_node *own = live_myself(db->servers[i]);
        if (own && (strcmp(own->id, node->id) == 0 ||
                       (own->primary_id && strcmp(own->primary_id, node->id) == 0)))
            return true;
    }
    return false;
}

static void note_missing(struct live *live, const struct live_database *db)
{
    for (size_t i = 0; i < db->first->node_count; i++) {
        const struct live_node *n = &db->first->nodes[i];
        CLEANUP(buf_release) struct buf slots = BUF_INIT;
        if (n->primary_id || slots_is_empty(&n->slots) || has_folder(db, n))
            continue;
        slots_format(&n->slots, &slots);
        live_note(live, "folder-missing",
            "no folder is of the node %s:%d (%s) or of a replica of it: it had the slots %s. Name "
            "its folder too",
            n->addr, n->port, n->id, slots.data);
    }
}

/* --- files --- */

static bool is_listed(const struct store_list *list, const struct live_server *s,
    const char *setting, const char *usual)
{
    const char *set = live_setting(s, setting), *name = set && *set ? set : usual;

    for (size_t i = 0; i < list->folder_count; i++)
        if (strcmp(list->folders[i], name) == 0)
            return true;
    return store_list_find(list, name) != NULL;
}

static void note_no_files(struct live *live, const struct live_server *s)
{
    live_note(live, "files-missing",
        "'%s' has no snapshot and no append-only file: keys of this server are not in it",
        folder_of(s));
}

int folder_note_listed(
    struct live *live, const struct live_server *s, struct store *store, struct err *err)
{
    struct store_list list = STORE_LIST_INIT;

    if (store_list(store, &list, err) < 0)
        return err_wrap(err, "'%s'", folder_of(s));
    if (!is_listed(&list, s, "dbfilename", "dump.rdb") &&
        !is_listed(&list, s, "appenddirname", "appendonlydir") &&
        !is_listed(&list, s, "appendfilename", "appendonly.aof"))
        note_no_files(live, s);
    store_list_release(&list);
    return 0;
}

static bool has_file(
    struct live *live, const struct live_server *s, const char *setting, const char *usual)
{
    const char *set = live_setting(s, setting), *name = set && *set ? set : usual;
    AUTO_FREE char *path = path_join(folder_of(s), name);

    if (!file_exists(path))
        return false;
    if (access(path, R_OK) < 0)
        live_note(live, "file-unreadable", "'%s' cannot be read: %s. Bring a copy that can", path,
            strerror(errno));
    return true;
}

static void note_files(struct live *live, const struct live_server *s)
{
    bool snapshot = has_file(live, s, "dbfilename", "dump.rdb"),
         folder = has_file(live, s, "appenddirname", "appendonlydir"),
         log = has_file(live, s, "appendfilename", "appendonly.aof");

    if (!snapshot && !folder && !log)
        note_no_files(live, s);
}

int folders_check(struct live *live, struct err *err)
{
    if (check_twice(live, err) < 0 || check_one_cluster(live, err) < 0 ||
        settle_claims(live, err) < 0)
        return -1;
    for (size_t i = 0; i < live->count; i++)
        if (*folder_of(live->servers[i]) == '/') /* here */
            note_files(live, live->servers[i]);
    for (size_t i = 0; i < live->database_count; i++) {
        struct live_database *db = &live->databases[i];
        if (!db->cluster)
            continue;
        choose_first(live, db);
        for (size_t k = 0; k < live->count; k++)
            tell_of_itself(live, live->servers[k]);
        note_missing(live, db);
    }
    return 0;
}
