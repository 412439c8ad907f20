#include "nodes_conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/digest.h"
#include "recluster/json.h"
#include "recluster/slots.h"
#include "shard_params.h"

enum { NODE_ID_DIGITS = 40 };

char *nodes_conf_id(const char *recovery, const char *shard_uid, int64_t generation)
{
    AUTO_FREE char *seed = xasprintf("%s/%lld/%s", recovery, (long long)generation, shard_uid);
    char hex[DIGEST_HEX_MAX];
    return xstrndup(digest_of(seed, strlen(seed), hex), NODE_ID_DIGITS);
}

/* For servers that were not asked. Both ends of each range were tested. */
static const struct {
    const char *kind;
    int first, last; /* 100 * major + minor */
} tried[] = {
    {"redis", 700, 800},
    {"valkey", 800, 901},
};

bool nodes_conf_is_taken(const json_t *server)
{
    const json_t *asked = json_object_get(server, "nodes_conf");
    const char *kind = json_text(server, "kind", NULL);
    const char *version = json_text(server, "version", NULL);
    int major, minor;

    if (json_is_boolean(asked))
        return json_is_true(asked);
    if (!kind || !version || sscanf(version, "%4d.%4d", &major, &minor) != 2)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(tried); i++)
        if (strcmp(kind, tried[i].kind) == 0 && major * 100 + minor >= tried[i].first &&
            major * 100 + minor <= tried[i].last)
            return true;
    return false;
}

/* "0-5460,6000" to " 0-5460 6000" */
static void add_slots(struct buf *out, const char *slots)
{
    buf_addc(out, ' ');
    for (const char *p = slots; *p; p++)
        buf_addc(out, *p == ',' ? ' ' : *p);
}

char *nodes_conf_text(const struct executor *x, const struct shard_run *self)
{
    const struct database_run *db = &x->databases[self->database];
    struct buf out = BUF_INIT;
    size_t end = db->first_shard + db->shard_count, primaries = 0;

    for (size_t i = db->first_shard; i < end; i++) {
        const struct shard_run *s = &x->shards[i];
        const struct shard_run *primary = s->is_primary ? s : &x->shards[s->primary];
        /* Primaries come first in a database, so their index serves as epoch. */
        size_t epoch = (size_t)(primary - &x->shards[db->first_shard]) + 1;

        if (!s->node_id) /* a replica that joined later by CLUSTER MEET */
            continue;
        buf_addf(&out, "%s %s:%d@%d %s%s %s 0 0 %zu connected", s->node_id, s->seen_addr,
            s->seen_port, s->seen_bus_port, s == self ? "myself," : "",
            s->is_primary ? "master" : "slave", s->is_primary ? "-" : primary->node_id, epoch);
        if (s->is_primary) {
            add_slots(&out, s->slots);
            primaries++;
        }
        buf_addc(&out, '\n');
    }
    buf_addf(&out, "vars currentEpoch %zu lastVoteEpoch 0\n", primaries);
    return buf_take(&out);
}

json_t *nodes_by_command(const struct executor *x, const struct shard_run *self)
{
    const struct shard_run *first = &x->shards[x->databases[self->database].first_shard];
    struct err impossible = ERR_INIT;
    struct slots slots;

    slots_clear(&slots);
    json_t *ranges =
        slots_parse(self->slots, &slots, &impossible) < 0 ? json_array() : slots_to_json(&slots);
    json_t *cluster =
        json_pack("{s:I, s:o}", "epoch", (json_int_t)(self - first) + 1, "slots", ranges);
    if (self != first)
        json_object_set_new(cluster, "meet", shard_meeting_place(first));
    return cluster;
}
