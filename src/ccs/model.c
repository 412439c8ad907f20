#include "model.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/human.h"

const char *ccs_login_name(enum ccs_login login)
{
    static const char *const names[] = {
#define CCS_LOGIN_NAME(id, name) [id] = name,
        CCS_LOGINS(CCS_LOGIN_NAME)
#undef CCS_LOGIN_NAME
    };
    return names[login];
}

/* Digits count as numbers: "2" before "10", "1:2" before "1:10". */
static int compare_uids(const char *a, const char *b)
{
    static const char digits[] = "0123456789";
    const char *x = a, *y = b;

    while (*x && *y) {
        size_t n = strspn(x, digits), m = strspn(y, digits);
        if (n && m) {
            size_t len = n - strspn(x, "0"), other = m - strspn(y, "0");
            int order = len != other ? (len > other) - (len < other)
                                     : strncmp(x + n - len, y + m - len, len);
            if (order)
                return order;
            x += n;
            y += m;
        } else if (*x != *y) {
            return (unsigned char)*x < (unsigned char)*y ? -1 : 1;
        } else {
            x++;
            y++;
        }
    }
    if (*x || *y)
        return *x ? 1 : -1;
    return strcmp(a, b);
}

static int compare_nodes(const void *a, const void *b)
{
    return compare_uids(((const struct ccs_node *)a)->uid, ((const struct ccs_node *)b)->uid);
}

static int compare_databases(const void *a, const void *b)
{
    return compare_uids(
        ((const struct ccs_database *)a)->uid, ((const struct ccs_database *)b)->uid);
}

static int compare_endpoints(const void *a, const void *b)
{
    const struct ccs_endpoint *x = a, *y = b;
    int order = compare_uids(x->database_uid, y->database_uid);

    return order ? order : compare_uids(x->uid, y->uid);
}

/* SLOT_COUNT for none. */
static unsigned first_slot(const struct ccs_shard *shard)
{
    return ((const struct model_slots *)(const void *)shard->slots)->first;
}

static int compare_shards(const void *a, const void *b)
{
    const struct ccs_shard *x = a, *y = b;
    int order = compare_uids(x->database_uid, y->database_uid);

    if (order == 0)
        order = y->primary - x->primary;
    if (order == 0 && x->slots != y->slots) {
        unsigned first = first_slot(x), other = first_slot(y);
        order = (first > other) - (first < other);
    }
    return order ? order : compare_uids(x->uid, y->uid);
}

static bool same_node(const struct ccs_shard *a, const struct ccs_shard *b)
{
    return a->node_uid && b->node_uid && strcmp(a->node_uid, b->node_uid) == 0;
}

static struct model_slots *model_of(const struct ccs_shard *shard)
{
    return (struct model_slots *)(uintptr_t)shard->slots;
}

static void note_primaries(struct ccs *ccs, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        struct model_slots *model = model_of(&ccs->shards[i]);
        if (model->run != first + 1)
            *model = (struct model_slots){
                model->slots, model->first, .run = first + 1, .primary = (int)i, .other = -1};
        else if (model->other < 0 && !same_node(&ccs->shards[model->primary], &ccs->shards[i]))
            model->other = (int)i;
    }
}

/* The primary of a replica: one with the same slots, if possible on another node. */
static int find_primary(const struct ccs *ccs, size_t first, const struct ccs_shard *replica)
{
    const struct model_slots *model = model_of(replica);

    if (model->first == SLOT_COUNT || model->run != first + 1)
        return -1;
    if (model->other >= 0 && same_node(&ccs->shards[model->primary], replica))
        return model->other;
    return model->primary;
}

static struct ccs_database *find_database(struct ccs *ccs, const char *uid)
{
    const struct ccs_database *found = ccs_database(ccs, uid);

    return found ? &ccs->databases[found - ccs->databases] : NULL;
}

/* Gives each database its run of shards, and each replica its primary. */
static void connect_shards(struct ccs *ccs)
{
    for (size_t i = 0; i < ccs->shard_count;) {
        const char *uid = ccs->shards[i].database_uid;
        size_t first = i, primaries = 0;
        for (; i < ccs->shard_count && strcmp(ccs->shards[i].database_uid, uid) == 0; i++)
            primaries += ccs->shards[i].primary;
        note_primaries(ccs, first, primaries);
        for (size_t r = first + primaries; r < i; r++)
            ccs->shards[r].primary_index = find_primary(ccs, first, &ccs->shards[r]);
        struct ccs_database *db = find_database(ccs, uid);
        if (db) {
            db->first_shard = first;
            db->shard_count = i - first;
        }
    }
}

/* Gives each database its run of endpoints. */
static void connect_endpoints(struct ccs *ccs)
{
    for (size_t i = 0; i < ccs->endpoint_count;) {
        const char *uid = ccs->endpoints[i].database_uid;
        size_t first = i;
        while (i < ccs->endpoint_count && strcmp(ccs->endpoints[i].database_uid, uid) == 0)
            i++;
        struct ccs_database *db = find_database(ccs, uid);
        if (db) {
            db->first_endpoint = first;
            db->endpoint_count = i - first;
            if (!db->port)
                db->port = ccs->endpoints[first].port;
        }
    }
}

static void sort(void *items, size_t count, size_t size, int (*compare)(const void *, const void *))
{
    if (count)
        qsort(items, count, size, compare);
}

void model_connect(struct ccs *ccs)
{
    sort(ccs->nodes, ccs->node_count, sizeof(*ccs->nodes), compare_nodes);
    sort(ccs->databases, ccs->database_count, sizeof(*ccs->databases), compare_databases);
    sort(ccs->shards, ccs->shard_count, sizeof(*ccs->shards), compare_shards);
    sort(ccs->endpoints, ccs->endpoint_count, sizeof(*ccs->endpoints), compare_endpoints);
    connect_shards(ccs);
    connect_endpoints(ccs);
}

void ccs_free(struct ccs *ccs)
{
    if (!ccs)
        return;
    arena_release(&ccs->arena);
    json_decref(ccs->json);
    free(ccs);
}

const struct ccs_node *ccs_node(const struct ccs *ccs, const char *uid)
{
    const struct ccs_node key = {.uid = uid};

    return uid && ccs->node_count
               ? bsearch(&key, ccs->nodes, ccs->node_count, sizeof(key), compare_nodes)
               : NULL;
}

const struct ccs_database *ccs_database(const struct ccs *ccs, const char *uid)
{
    const struct ccs_database key = {.uid = uid};

    return uid && ccs->database_count
               ? bsearch(&key, ccs->databases, ccs->database_count, sizeof(key), compare_databases)
               : NULL;
}

static int refuse_word(const struct ccs *ccs, const char *word, struct err *err)
{
    const char **words = xcalloc(2 * ccs->database_count + 1, sizeof(*words));

    for (size_t i = 0; i < ccs->database_count; i++) {
        words[2 * i] = ccs->databases[i].label;
        words[2 * i + 1] = ccs->databases[i].name;
    }
    const char *nearest = human_nearest(word, words);
    err_set(err, ERR_USAGE, "the CCS has no database '%s'", word);
    if (nearest)
        err_hint(err, "Did you mean '%s'?", nearest);
    else
        err_hint(err, "See `recluster inspect` for what it holds.");
    free(words);
    return -1;
}

const struct ccs_database *ccs_find_database(
    const struct ccs *ccs, const char *word, struct err *err)
{
    const struct ccs_database *found =
        ccs_database(ccs, strncmp(word, "db:", 3) == 0 ? word + 3 : word);

    for (size_t i = 0; !found && i < ccs->database_count; i++) {
        if (strcmp(ccs->databases[i].name, word) != 0)
            continue;
        for (size_t j = i + 1; j < ccs->database_count; j++) {
            if (strcmp(ccs->databases[j].name, word) == 0) {
                err_set(err, ERR_USAGE, "several databases are named '%s'", word);
                err_hint(err, "Name one of them: %s or %s.", ccs->databases[i].label,
                    ccs->databases[j].label);
                return NULL;
            }
        }
        found = &ccs->databases[i];
    }
    if (!found)
        refuse_word(ccs, word, err);
    return found;
}

void ccs_missing_slots(const struct ccs *ccs, const struct ccs_database *db, struct slots *ret)
{
    slots_fill(ret);
    for (size_t i = 0; i < db->shard_count; i++) {
        const struct ccs_shard *shard = &ccs->shards[db->first_shard + i];
        if (shard->primary)
            slots_subtract(ret, shard->slots);
    }
}
