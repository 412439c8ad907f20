#include "command.h"
#include "recluster/report.h"

static int run(const struct arguments *args, struct err *err)
{
    const char *path = argument(args, OPT_STATE);
    json_t *document;
    struct state *st;

    if (!path)
        return err_set(err, ERR_USAGE, "'status' needs --state FILE");
    if (state_open(path, STATE_READ, &st, err) < 0)
        return -1;
    int rc = report_status_json(st, path, &document, err);
    state_close(st);
    if (rc < 0)
        return -1;
    rc = print_result(args, document, report_status_text, err);
    json_decref(document);
    return rc;
}

const struct command command_status = {
    .name = "status",
    .words = "--state FILE",
    .summary = "show how far a recovery is, live or after its end",
    .help =
        "Reads the state file only; the hosts are not asked. The last line names the command to "
        "run next.",
    .options = OPTIONS(OPT_STATE, OPT_JSON, OPT_HELP),
    .run = run,
};
