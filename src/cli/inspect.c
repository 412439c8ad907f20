#include "command.h"
#include "recluster/memory_limit.h"
#include "recluster/report.h"

static int inspect(const struct arguments *args, struct state *st, struct err *err)
{
    if (ccs_import(args->words[0], argument(args, OPT_KEY), st, err) < 0)
        return -1;
    /* Kept to the end of the process, because the file decides how much is shown. */
    memory_limit_set(MEMORY_LIMIT_CCS);
    memory_limit_name("CCS file '%s'", args->words[0]);
    struct ccs *ccs = ccs_load(st, err);
    if (!ccs)
        return -1;
    json_t *document = report_inspect_json(ccs);
    ccs_free(ccs);
    int rc = print_result(args, document, report_inspect_text, err);
    json_decref(document);
    return rc;
}

static int run(const struct arguments *args, struct err *err)
{
    struct state *st;

    if (state_open(NULL, STATE_MEMORY, &st, err) < 0)
        return -1;
    int rc = inspect(args, st, err);
    state_close(st);
    return rc;
}

const struct command command_inspect = {
    .name = "inspect",
    .words = "CCS",
    .summary = "show what a CCS file holds, and what is odd about it",
    .help = "CCS is ccs-redis.rdb, the same gzipped, ccs-redis.json of a support package, or the "
            "nodes.json of `redis-cli --cluster backup`.",
    .min_words = 1,
    .max_words = 1,
    .options = OPTIONS(OPT_KEY, OPT_JSON, OPT_HELP),
    .run = run,
};
