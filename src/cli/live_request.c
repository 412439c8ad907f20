/* The cluster that a command asks. */

#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "recluster/ccs.h"
#include "recluster/file.h"
#include "recluster/hosts.h"
#include "recluster/json.h"
#include "recluster/live.h"

enum { PASSWORD_FILE_BYTES_MAX = 64 << 10, PORT = 6379 };

struct live_request {
    struct arena arena;
    struct live_params params;
    struct live_address *seeds;
    const char **addresses; /* as they were given */
    size_t count, alloc, addresses_alloc;
    struct hosts *hosts;
    struct state *st; /* of the CCS file that was given in the place of addresses; NULL: none */
    struct ccs *ccs;
    struct secret *password, *sentinel_password;
    struct tls *tls;
    struct tls_params tls_files;
};

void live_request_free(struct live_request *r)
{
    if (!r)
        return;
    ccs_free(r->ccs);
    state_close(r->st);
    tls_free(r->tls);
    secret_free(r->password);
    secret_free(r->sentinel_password);
    hosts_free(r->hosts);
    free(r->seeds);
    free(r->addresses);
    arena_release(&r->arena);
    free(r);
}

const struct live_params *live_request_params(const struct live_request *r)
{
    return &r->params;
}

const char *const *live_request_addresses(const struct live_request *r)
{
    return r->addresses;
}

const char *live_request_name(const struct live_request *r)
{
    const char *name = r->hosts ? json_text(r->hosts->live, "name", NULL) : NULL;

    return name || !r->ccs ? name : r->ccs->cluster_name;
}

const struct ccs *live_request_ccs(const struct live_request *r)
{
    return r->ccs;
}

int64_t live_request_history(const struct live_request *r, const struct ccs_database *db)
{
    AUTO_FREE char *key = xasprintf("bdb:%s", db->uid);
    struct err ignored = ERR_INIT;
    struct rows rows;
    int64_t count = 0;

    if (state_query(r->st, &rows, &ignored,
            "SELECT CAST(value AS INTEGER) FROM ccs_entry WHERE key = ? AND field = "
            "'backup_history'",
            "s", key) < 0)
        return 0;
    while (rows_next(&rows))
        count = rows_int(&rows, 0);
    return rows_end(&rows, &ignored) == 0 && count > 0 ? count : 0;
}

const struct tls_params *live_request_tls(const struct live_request *r)
{
    return r->tls ? &r->tls_files : NULL;
}

const struct hosts *live_request_hosts(const struct live_request *r)
{
    return r->hosts;
}

static void add_seed(struct live_request *r, const char *host, int port, const char *word)
{
    GROW(r->seeds, r->count, r->alloc);
    if (r->count + 1 >= r->addresses_alloc) {
        r->addresses_alloc = 2 * r->addresses_alloc + 8;
        r->addresses = xreallocarray(r->addresses, r->addresses_alloc, sizeof(*r->addresses));
    }
    r->seeds[r->count] = (struct live_address){host, port};
    r->addresses[r->count++] = word;
    r->addresses[r->count] = NULL;
}

/* The servers that a CCS file names; those that are there tell where the others are now. */
static int add_ccs(struct live_request *r, const char *path, const char *key, struct err *err)
{
    if (r->ccs)
        return err_set(err, ERR_USAGE, "'%s' is a second CCS file: name one", path);
    if (state_open(NULL, STATE_MEMORY, &r->st, err) < 0 || ccs_import(path, key, r->st, err) < 0)
        return -1;
    r->ccs = ccs_load(r->st, err);
    if (!r->ccs)
        return -1;
    for (size_t i = 0; i < r->ccs->shard_count; i++) {
        const struct ccs_shard *shard = &r->ccs->shards[i];
        const struct ccs_node *node = shard->node_uid ? ccs_node(r->ccs, shard->node_uid) : NULL;
        if (node && node->addr && shard->port > 0)
            add_seed(r, node->addr, shard->port,
                arena_printf(&r->arena, strchr(node->addr, ':') ? "[%s]:%d" : "%s:%d", node->addr,
                    shard->port));
    }
    return r->count ? 0 : err_set(err, ERR_USAGE, "'%s' names no address of a server", path);
}

/* "10.0.0.1", "10.0.0.1:6380", "name:6380", "[::1]:6380", "::1". */
static int add_address(struct live_request *r, const char *word, struct err *err)
{
    char *host = arena_strdup(&r->arena, word), *port = NULL, *end = NULL;
    long n = PORT;

    if (strstr(word, "://")) {
        err_set(err, ERR_USAGE, "'%s' is not an address such as 10.0.0.1:6379", word);
        return err_hint(err, "Give the login by --user and --password, TLS by --tls.");
    }
    if (host[0] == '[') {
        char *close = strchr(++host, ']');
        if (close) {
            *close = '\0';
            port = close[1] == ':' ? close + 2 : NULL;
        }
    } else if (strchr(host, ':') && strchr(host, ':') == strrchr(host, ':')) {
        port = strchr(host, ':');
        *port++ = '\0';
    }
    if (port)
        n = strtol(port, &end, 10);
    if (!*host || (port && (end == port || *end)) || n <= 0 || n > 65535)
        return err_set(err, ERR_USAGE, "'%s' is not an address such as 10.0.0.1:6379", word);
    add_seed(r, host, (int)n, word);
    return 0;
}

static int read_password(const char *path, struct secret **ret, struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;

    buf_reserve(&text, PASSWORD_FILE_BYTES_MAX + 1); /* so that no copy remains */
    if (file_read(path, PASSWORD_FILE_BYTES_MAX, &text, err) < 0)
        return err_wrap(err, "cannot read the password");
    if (text.len && text.data[text.len - 1] == '\n')
        text.data[text.len - 1] = '\0';
    *ret = secret_new(text.data);
    explicit_bzero(text.data, text.len);
    return 0;
}

/* Of a CCS file that has it, if all of its databases have the same. */
static const char *known_password(const struct ccs *ccs)
{
    const char *known = NULL;

    for (size_t i = 0; ccs && i < ccs->database_count; i++) {
        const char *own = ccs->databases[i].password;
        if (!own || (known && strcmp(own, known) != 0))
            return NULL;
        known = own;
    }
    return known;
}

static int take_login(struct live_request *r, const struct arguments *args, const json_t *live,
    bool sentinel, struct err *err)
{
    const char *file = argument(args, sentinel ? OPT_SENTINEL_PASSWORD : OPT_PASSWORD);
    const char *user = argument(args, sentinel ? OPT_SENTINEL_USER : OPT_USER);
    const char *key = sentinel ? "sentinel_password" : "password";
    struct secret **password = sentinel ? &r->sentinel_password : &r->password;
    struct live_login *login = sentinel ? &r->params.sentinel_login : &r->params.login;
    int rc = 0;

    if (file)
        rc = read_password(file, password, err);
    else if (json_has(live, key) &&
             !(*password = secret_from_json(json_object_get(live, key), key, err)))
        rc = -1;
    else if (!*password && !sentinel && !user && !json_has(live, "user"))
        *password = secret_new(known_password(r->ccs));
    login->user = user ? user : json_text(live, sentinel ? "sentinel_user" : "user", NULL);
    login->password = *password;
    if (rc == 0 && login->user && !login->password) {
        err_set(err, ERR_USAGE, "there is no password for the user '%s'", login->user);
        rc = err_hint(err, "Give a file that holds it: --%s FILE",
            option_name(sentinel ? OPT_SENTINEL_PASSWORD : OPT_PASSWORD));
    }
    return rc;
}

static int take_tls(
    struct live_request *r, const struct arguments *args, const json_t *live, struct err *err)
{
    const json_t *tls = json_object_get(live, "tls");
    const char *ca = argument(args, OPT_TLS_CA), *cert = argument(args, OPT_TLS_CERT);
    const char *key = argument(args, OPT_TLS_KEY);
    bool any_name = args->given[OPT_TLS_ANY_NAME] || json_flag(tls, "any_name");
    const struct tls_params params = {
        .ca = ca ? ca : json_text(tls, "ca", NULL),
        .cert = cert ? cert : json_text(tls, "cert", NULL),
        .key = key ? key : json_text(tls, "key", NULL),
        .any_name = any_name,
    };

    if (!args->given[OPT_TLS] && !json_is_object(tls) && !json_is_true(tls) && !ca && !cert &&
        !key && !any_name)
        return 0;
    if (tls_new(&params, &r->tls, err) < 0)
        return -1;
    r->params.tls = r->tls;
    r->tls_files = params;
    return 0;
}

int hosts_of_arguments(const struct arguments *args, struct hosts **ret, struct err *err)
{
    const char *const *path = args->values[OPT_HOSTS];

    *ret = NULL;
    if (path && !(*ret = hosts_load(*path++, err)))
        return -1;
    for (; path && *path; path++)
        if (hosts_add(*ret, *path, err) < 0) {
            hosts_free(*ret);
            *ret = NULL;
            return -1;
        }
    return 0;
}

int live_request_new(const struct arguments *args, struct live_request **ret, struct err *err)
{
    struct live_request *r = xcalloc(1, sizeof(*r));

    arena_init(&r->arena);
    int rc = hosts_of_arguments(args, &r->hosts, err);
    const json_t *live = r->hosts ? r->hosts->live : NULL, *address;
    for (size_t i = 0; rc == 0 && i < args->word_count; i++)
        rc = file_exists(args->words[i]) ? add_ccs(r, args->words[i], argument(args, OPT_KEY), err)
                                         : add_address(r, args->words[i], err);
    size_t i;
    json_array_foreach (json_object_get(live, "addresses"), i, address) {
        if (rc == 0 && !args->word_count)
            rc = add_address(r, json_string_value(address), err);
    }
    if (rc == 0 && !r->count) {
        err_set(err, ERR_USAGE, "there is no address of a server");
        rc = err_hint(err, "Give an ADDRESS such as 10.0.0.1:6379, or \"live\": {\"addresses\": "
                           "[…]} in the hosts file.");
    }
    if (rc == 0)
        rc = take_login(r, args, live, false, err);
    if (rc == 0)
        rc = take_login(r, args, live, true, err);
    if (rc == 0)
        rc = take_tls(r, args, live, err);
    if (rc < 0) {
        live_request_free(r);
        return -1;
    }
    r->params.seeds = r->seeds;
    r->params.seed_count = r->count;
    *ret = r;
    return 0;
}
