/* live_digest(): what a CCS file is made of, as text in one order. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "answers.h"
#include "recluster/buf.h"
#include "recluster/digest.h"

/* With its length, so that no two lists of texts give the same bytes. */
static void add(struct buf *out, const char *text)
{
    buf_addf(out, "%zu:%s\n", text ? strlen(text) : 0, text ? text : "");
}

static void add_number(struct buf *out, int64_t n)
{
    buf_addf(out, "%" PRId64 "\n", n);
}

static void add_list(struct buf *out, const char *const *list)
{
    for (; list && *list; list++)
        add(out, *list);
    buf_adds(out, "-\n");
}

static void add_node(struct buf *out, const struct live_node *n)
{
    add(out, n->id);
    add(out, n->addr);
    add_number(out, n->port);
    add_number(out, n->bus_port);
    add(out, n->hostname);
    add(out, n->primary_id);
    add_number(out, n->fails || n->no_addr);
    add_number(out, n->epoch);
    add_number(out, n->moves_slots);
    slots_format(&n->slots, out);
    buf_addc(out, '\n');
}

static void add_watch(struct buf *out, const struct live_watch *w)
{
    add(out, w->name);
    add(out, w->addr);
    add_number(out, w->port);
    add_number(out, w->quorum);
    add_number(out, w->down_after_ms);
    add_number(out, w->failover_timeout_ms);
    add_number(out, w->parallel_syncs);
}

static void add_server(struct live *live, const struct live_server *s, struct buf *out)
{
    static const char *const fields[] = {"redis_version", "valkey_version", "role", "master_host",
        "master_port", "os", "total_system_memory", "executable", "config_file"};

    add(out, s->addr);
    add_number(out, s->port);
    add_number(out, s->error.code);
    add_number(out, s->mode);
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        add(out, live_info(live, s, fields[i]));
    for (size_t i = 0; i < s->setting_count; i++) {
        add(out, s->settings[i].name);
        add(out, s->settings[i].value);
    }
    for (const char *const *user = s->users; user && *user; user++)
        add(out, live_user_rules(&live->arena, *user));
    for (size_t i = 0; i < s->module_count; i++) {
        add(out, s->modules[i].name);
        add(out, s->modules[i].path);
        add_number(out, s->modules[i].version);
        add_list(out, s->modules[i].args);
    }
    add_list(out, s->functions);
    add_list(out, s->refused);
    for (size_t i = 0; i < s->node_count; i++)
        if (!s->nodes[i].handshaking)
            add_node(out, &s->nodes[i]);
    for (size_t i = 0; i < s->watch_count; i++)
        add_watch(out, &s->watches[i]);
}

void live_digest(struct live *live, char *ret)
{
    struct buf text = BUF_INIT;

    for (size_t i = 0; i < live->count; i++)
        add_server(live, live->servers[i], &text);
    digest_of(text.data, text.len, ret);
    explicit_bzero(text.data, text.alloc); /* settings hold passwords */
    buf_release(&text);
}
