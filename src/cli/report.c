#include "recluster/report.h"
#include "command.h"

static int write_page(
    const struct arguments *args, const json_t *document, const char *path, struct err *err)
{
    CLEANUP(buf_release) struct buf page = BUF_INIT;

    report_html(document, &page);
    return output_write(args, path, &page, err);
}

static int show(const json_t *document, const struct arguments *args, struct err *err)
{
    CLEANUP(buf_release) struct buf said = BUF_INIT;
    const char *html = argument(args, OPT_HTML);

    if (html && write_page(args, document, html, err) < 0)
        return -1;
    if (!html || args->given[OPT_JSON])
        return print_result(args, document, report_text, err);
    buf_addf(&said, "written: %s\n", html);
    return print_text(&said, err);
}

static int run(const struct arguments *args, struct err *err)
{
    const char *path = argument(args, OPT_STATE);
    json_t *document;
    struct state *st;

    if (!path)
        return err_set(err, ERR_USAGE, "'report' needs --state FILE");
    if (outputs_check(args, err) < 0)
        return -1;
    if (state_open(path, STATE_READ, &st, err) < 0)
        return -1;
    int rc = report_json(st, path, &document, err);
    state_close(st);
    if (rc < 0)
        return -1;
    rc = show(document, args, err);
    json_decref(document);
    return rc;
}

const struct command command_report = {
    .name = "report",
    .words = "--state FILE",
    .summary = "report what was recovered, from which files, with which proof",
    .options = OPTIONS(OPT_STATE, OPT_HTML, OPT_FORCE, OPT_JSON, OPT_HELP),
    .run = run,
};
