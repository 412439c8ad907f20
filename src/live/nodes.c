/* CLUSTER NODES: the format of clusterGenNodeDescription() in cluster.c of Redis 4 to 8. */

#include <stdlib.h>
#include <string.h>

#include "answers.h"

static bool parse_int(const char *text, int64_t max, int64_t *ret)
{
    char *end;
    long long n = strtoll(text, &end, 10);

    *ret = n;
    return end != text && !*end && n >= 0 && n <= max;
}

/* "10.0.0.1:6379@16379,name,shard-id=…"; the address may be empty, or hold colons. */
static bool parse_address(struct arena *arena, const char *word, struct live_node *n)
{
    char *text = arena_strdup(arena, word);
    char *extra = strchr(text, ','), *bus = NULL;
    int64_t port, bus_port = 0;

    n->hostname = "";
    if (extra) {
        *extra++ = '\0';
        size_t len = strcspn(extra, ",");
        if (!memchr(extra, '=', len))
            n->hostname = arena_memdup(arena, extra, len);
    }
    bus = strrchr(text, '@');
    if (bus)
        *bus++ = '\0';
    char *colon = strrchr(text, ':');
    if (!colon || !parse_int(colon + 1, 65535, &port) || (bus && !parse_int(bus, 65535, &bus_port)))
        return false;
    *colon = '\0';
    n->addr = text;
    n->port = (int)port;
    n->bus_port = bus ? (int)bus_port : n->port + 10000;
    return true;
}

static bool has_flag(const char *flags, const char *flag)
{
    size_t len = strlen(flag);

    for (const char *p = flags; *p; p += strcspn(p, ","), p += *p == ',')
        if (strcspn(p, ",") == len && strncmp(p, flag, len) == 0)
            return true;
    return false;
}

/* "0-5460", "6000", "[93-<-id]", "[93->-id]". */
static bool parse_slots(const char *word, struct live_node *n)
{
    char *end;

    if (*word == '[') {
        n->moves_slots = true;
        return true;
    }
    unsigned long first = strtoul(word, &end, 10), last = first;
    if (end == word)
        return false;
    if (*end == '-') {
        const char *second = end + 1;
        last = strtoul(second, &end, 10);
        if (end == second)
            return false;
    }
    if (*end || first > last || last >= SLOT_COUNT)
        return false;
    slots_add_range(&n->slots, (unsigned)first, (unsigned)last);
    return true;
}

bool is_plain_word(const char *word)
{
    for (; *word; word++)
        if (*word <= ' ' || *word > '~')
            return false;
    return true;
}

bool node_parse(struct arena *arena, const char *line, struct live_node *ret)
{
    enum { WORD_ID, WORD_ADDRESS, WORD_FLAGS, WORD_PRIMARY, WORD_EPOCH = 6, WORDS_MIN = 8 };
    char *text = arena_strdup(arena, line), *rest;
    size_t at = 0;

    *ret = (struct live_node){.epoch = 0};
    for (char *word = strtok_r(text, " \r", &rest); word; word = strtok_r(NULL, " \r", &rest)) {
        bool good = is_plain_word(word);
        switch (at++) {
        case WORD_ID:
            ret->id = word;
            good &= strlen(word) == 40;
            break;
        case WORD_ADDRESS:
            good = good && parse_address(arena, word, ret);
            break;
        case WORD_FLAGS:
            ret->replica = has_flag(word, "slave") || has_flag(word, "replica");
            ret->myself = has_flag(word, "myself");
            ret->fails = has_flag(word, "fail");
            ret->suspected = has_flag(word, "fail?");
            ret->handshaking = has_flag(word, "handshake");
            ret->no_addr = has_flag(word, "noaddr");
            break;
        case WORD_PRIMARY:
            ret->primary_id = strcmp(word, "-") == 0 ? NULL : word;
            break;
        case WORD_EPOCH:
            good = parse_int(word, INT64_MAX, &ret->epoch);
            break;
        case WORDS_MIN - 1: /* link-state */
        case 4:             /* ping-sent */
        case 5:             /* pong-recv */
            break;
        default:
            good = parse_slots(word, ret);
        }
        if (!good)
            return false;
    }
    return at >= WORDS_MIN;
}

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct live_node *)a)->id, ((const struct live_node *)b)->id);
}

void nodes_sort(struct live_server *s)
{
    if (s->node_count)
        qsort(s->nodes, s->node_count, sizeof(*s->nodes), by_id);
}

int take_nodes(struct live *live, struct live_server *s, const redisReply *reply, struct err *err)
{
    size_t alloc = 0;
    char *rest, *text = arena_strdup(&live->arena, reply->str);

    if (reply->type != REDIS_REPLY_STRING)
        return err_set(err, ERR_PROTOCOL, "CLUSTER NODES has an unexpected answer");
    for (const char *p = text; *p; p++)
        alloc += *p == '\n';
    s->nodes = arena_alloc(&live->arena, (alloc + 1) * sizeof(*s->nodes));
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (!node_parse(&live->arena, line, &s->nodes[s->node_count]))
            return err_set(err, ERR_PROTOCOL, "CLUSTER NODES answers a line that is not known");
        s->node_count++; /* only whole ones count: their addresses are asked */
    }
    nodes_sort(s);
    return 0;
}
