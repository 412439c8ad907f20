/* pull_aof(): an RDB file with the commands that came after it. */

#include <stdlib.h>

#include "recluster/aof.h"
#include "recluster/json.h"
#include "recluster/pull.h"
#include "unpack.h"

struct aof_pull {
    struct rdb_scan *scan; /* of the RDB file */
    struct aof_reader *reader;
    uint64_t bytes, preamble_bytes;
};

/* What the reader passes on: first the RDB file, then commands. */
static int on_checked(void *arg, const void *data, size_t len, struct err *err)
{
    struct aof_pull *p = arg;

    if (!aof_reader_in_preamble(p->reader))
        return 0;
    p->preamble_bytes += len;
    return rdb_scan_feed(p->scan, data, len, err);
}

static int on_plain(void *arg, const void *data, size_t len, struct err *err)
{
    struct aof_pull *p = arg;

    p->bytes += len;
    return aof_reader_feed(p->reader, data, len, err);
}

static int end(struct aof_pull *p, struct aof_facts *ret, struct err *err)
{
    if (aof_reader_end(p->reader, ret, err) < 0 ||
        (ret->preamble && rdb_scan_end(p->scan, err) < 0))
        return -1;
    if (ret->whole_bytes == ret->bytes)
        return 0;
    err_set(err, ERR_CORRUPT, "it does not end where a command ends: %llu bytes are left over",
        (unsigned long long)(ret->bytes - ret->whole_bytes));
    return err_hint(err,
        "A server that was killed leaves such a file; a recovery from its disk cuts "
        "the rest off. A backup set must not have it.");
}

static json_t *facts_of(const struct aof_pull *p, const struct aof_facts *aof)
{
    json_t *facts = rdb_scan_json(p->scan);

    json_object_set_new(facts, "kind", json_string("aof"));
    json_object_set_new(facts, "bytes", json_integer((json_int_t)p->bytes));
    json_object_set_new(
        facts, "stream_bytes", json_integer((json_int_t)(p->bytes - p->preamble_bytes)));
    json_object_set_new(facts, "commands", json_integer((json_int_t)aof->commands));
    return facts;
}

int pull_aof(const struct pull_params *params, json_t **ret_facts, struct err *err)
{
    struct aof_pull p = {.scan = rdb_scan_new(&params->scan)};
    struct aof_facts facts = {.bytes = 0};

    p.reader = aof_reader_new(on_checked, &p, NULL);
    int rc = pull_plain(params, on_plain, &p, err);
    if (rc == 0)
        rc = end(&p, &facts, err);
    *ret_facts = p.bytes ? facts_of(&p, &facts) : NULL;
    if (rc == 0 && params->check)
        rc = params->check(params->arg, *ret_facts, err);
    aof_reader_free(p.reader);
    rdb_scan_free(p.scan);
    return rc;
}
