#include "status_words.h"

#include <string.h>

#include "doc.h"
#include "recluster/clock.h"
#include "recluster/human.h"
#include "recluster/json.h"

static const struct {
    const char *state;
    enum verdict verdict;
    const char *headline;
} verdicts[] = {
    {"done", VERDICT_GOOD, "Recovered: every database is proven and open."},
    {"partly", VERDICT_MIXED, "Partly recovered: some databases are open, others are not."},
    {"failed", VERDICT_BAD, "Failed: no database could be recovered yet."},
    {"running", VERDICT_OPEN, "Recovery is running."},
    {"planned", VERDICT_OPEN, "Planned: nothing was done yet."},
};

enum verdict status_verdict(const json_t *status)
{
    if (json_flag(status, "interrupted"))
        return VERDICT_MIXED;
    for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++)
        if (strcmp(json_text(status, "state", ""), verdicts[i].state) == 0)
            return verdicts[i].verdict;
    return VERDICT_OPEN;
}

const char *status_headline(const json_t *status)
{
    if (json_flag(status, "interrupted"))
        return "Interrupted: the recovery ended before its work was done.";
    if (strcmp(json_text(status, "state", ""), "planned") == 0 && json_has(status, "started_ms"))
        return "Started, and stopped before its end.";
    for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++)
        if (strcmp(json_text(status, "state", ""), verdicts[i].state) == 0)
            return verdicts[i].headline;
    return json_text(status, "state", "?");
}

char *status_times(const json_t *status)
{
    char time[CLOCK_TEXT_MAX], took[HUMAN_TEXT_MAX];

    if (!json_has(status, "started_ms"))
        return xstrdup("Not started.");
    human_duration(json_int(status, "rto_ms", 0), took);
    char *times = xasprintf("Started %s, %s %s.", doc_time(status, "started_ms", time),
        json_has(status, "ended_ms") ? "took" : "so far", took);
    if (!json_has(status, "ended_ms") || json_has(status, "pid"))
        return times;
    AUTO_FREE char *ended = times;
    return xasprintf(
        "%s As of %s: no server was asked since.", ended, doc_time(status, "ended_ms", time));
}

int64_t status_keys(const json_t *database)
{
    int64_t keys = -1;
    size_t i;
    json_t *shard;

    json_array_foreach (json_object_get(database, "shards"), i, shard) {
        if (strcmp(json_text(shard, "role", ""), "primary") == 0 && json_has(shard, "keys"))
            keys = (keys < 0 ? 0 : keys) + json_int(shard, "keys", 0);
    }
    return keys;
}
