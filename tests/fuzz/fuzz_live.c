/*
 * What running servers and the data folders of dead ones say, as a CCS file: the first byte says who
 * says it. Whatever is read, the file that is made of it can be read again.
 */

#include <string.h>
#include <sys/stat.h>

#include "../../src/agent/user_line.h"
#include "../../src/capture/document.h"
#include "../../src/live/answers.h"
#include "../../src/live/resp.h"
#include "../../src/live/topology.h"
#include "fuzz.h"
#include "recluster/capture.h"
#include "recluster/digest.h"
#include "recluster/file.h"

static void make_file(struct live *live, bool without_secrets)
{
    const struct capture_params params = {
        .unsettled = live_unsettled(live), .without_secrets = without_secrets};
    struct buf file = BUF_INIT;
    struct err err = ERR_INIT;
    char digest[DIGEST_HEX_MAX];
    struct document d;

    live_digest(live, digest);
    if (capture_make(live, &params, &file, &err) == 0) {
        document_init(&d);
        int rc = document_read(&d, (struct rdb_bytes){file.data, file.len}, &err);
        FUZZ_ASSERT(rc == 0 && d.count > 0);
        document_release(&d);
    }
    buf_release(&file);
}

/* In the order in which a server is asked. */
static int (*const takes[])(struct live *, struct live_server *, const redisReply *,
    struct err *) = {take_info, take_settings, take_users, take_modules, take_functions, take_nodes,
    take_cluster_info, take_watches};

static void add_server(struct live *live, redisReader *reader, const char *addr)
{
    struct live_server *s = arena_alloc(&live->arena, sizeof(*s));
    struct live_address *listed;
    size_t count;
    void *reply;

    *s = (struct live_server){.addr = addr, .port = 6379, .epoch = -1};
    GROW(live->servers, live->count, live->alloc);
    live->servers[live->count++] = s;
    for (size_t i = 0; i < ARRAY_SIZE(takes); i++) {
        reply = NULL;
        if (s->error.code != ERR_NONE || redisReaderGetReply(reader, &reply) != REDIS_OK || !reply)
            return;
        if (takes[i](live, s, reply, &s->error) == 0) {
            struct err err = ERR_INIT;
            (void)!take_listed(live, reply, &listed, &count, &err);
        }
        freeReplyObject(reply);
    }
}

static void read_answers(const char *text, size_t len)
{
    struct live *live = xcalloc(1, sizeof(*live));
    redisReader *reader = resp_reader_new();

    arena_init(&live->arena);
    if (redisReaderFeed(reader, text, len) == REDIS_OK) {
        add_server(live, reader, "10.0.0.1");
        add_server(live, reader, "10.0.0.2");
        add_server(live, reader, "10.0.0.3");
    }
    topology_find(live);
    make_file(live, len % 2);
    live_free(live);
    redisReaderFree(reader);
}

static void read_node(const char *text, size_t len)
{
    struct live_node node;
    struct arena arena;

    (void)len;
    arena_init(&arena);
    if (node_parse(&arena, text, &node))
        FUZZ_ASSERT(strlen(node.id) == 40 && node.port >= 0 && node.port <= 65535);
    arena_release(&arena);
}

static void read_user(const char *text, size_t len)
{
    struct user_line u;
    struct arena arena;

    (void)len;
    if (user_line_parse(text, &u)) {
        FUZZ_ASSERT(*u.name && !strchr(u.name, ' ') && u.name == u.argv[2] && !u.argv[u.count]);
        user_line_release(&u);
    }
    arena_init(&arena);
    FUZZ_ASSERT(strlen(live_user_rules(&arena, text)) <= strlen(text));
    arena_release(&arena);
}

/* Files of one folder, with a NUL between them: redis.conf, nodes.conf, users.acl. */
static void read_folder(const char *text, size_t len)
{
    static const char *const names[] = {"redis.conf", "nodes.conf", "users.acl"};
    static char folder[] = "/tmp/recluster-fuzz-XXXXXX";
    static bool made;
    struct live *live;
    struct err err = ERR_INIT;

    if (!made)
        FUZZ_ASSERT(mkdtemp(folder));
    made = true;
    for (size_t i = 0, at = 0; i < ARRAY_SIZE(names); i++) {
        AUTO_FREE char *path = path_join(folder, names[i]);
        size_t bytes = at < len ? strnlen(text + at, len - at) : 0;
        FUZZ_ASSERT(file_write_atomic(path, bytes ? text + at : "", bytes, 0600, &err) == 0);
        at += bytes + 1;
    }
    json_t *location = json_pack("{s:s, s:s}", "type", "mount_point", "path", folder);
    const struct live_folder from = {.prefix = "", .path = folder, .location = location};
    int rc = live_from_folders(&from, 1, &live, &err);
    json_decref(location);
    if (rc < 0)
        return;
    make_file(live, len % 2);
    live_free(live);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(const char *, size_t) = {
        read_answers, read_node, read_user, read_folder};

    if (size == 0)
        return 0;
    /* Letters, so that inputs can be written with an editor. */
    size_t which = (size_t)(data[0] - 'a') % ARRAY_SIZE(readers);
    char *text = xmalloc(size);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    readers[which](text, size - 1);
    free(text);
    return 0;
}
