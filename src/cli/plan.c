#include <stdlib.h>

#include "command.h"
#include "progress.h"
#include "recluster/recover.h"
#include "recluster/report.h"
#include "signals.h"

static int write_plan(
    const struct arguments *args, const char *path, const json_t *document, struct err *err)
{
    CLEANUP(buf_release) struct buf out = BUF_INIT;
    AUTO_FREE char *text = json_dumps(document, JSON_INDENT(1));

    buf_addf(&out, "%s\n", text);
    return output_write(args, path, &out, err);
}

static int write_picture(
    const struct arguments *args, const char *path, const json_t *document, struct err *err)
{
    CLEANUP(buf_release) struct buf out = BUF_INIT;

    report_plan_svg(document, &out);
    return output_write(args, path, &out, err);
}

static void text(const json_t *document, bool colour, struct buf *out)
{
    const json_t *changes = json_object_get(document, "changes");

    report_plan_text(document, colour, out);
    if (changes)
        report_plan_changes_text(changes, colour, out);
}

/* The command that runs this plan, for a shell. */
static char *recover_command(const struct arguments *args)
{
    struct buf command = BUF_INIT;

    buf_adds(&command, "recluster recover");
    arguments_text(args, OPTIONS(RECOVER_OPTIONS), &command);
    buf_adds(&command, " --state recovery.state");
    return buf_take(&command);
}

static int show(const struct arguments *args, const struct survey *survey, struct err *err)
{
    const char *diff = argument(args, OPT_DIFF), *out = argument(args, OPT_PLAN_OUT);
    const char *svg = argument(args, OPT_SVG);
    json_t *document = survey_plan_json(survey), *old = NULL;
    int rc = 0;

    /* The file has the plan alone, without the comparison. */
    if (out)
        rc = write_plan(args, out, document, err);
    if (rc == 0 && svg)
        rc = write_picture(args, svg, document, err);
    if (rc == 0 && diff) {
        old = read_plan(diff, err);
        rc = old ? 0 : -1;
        if (old)
            json_object_set_new(document, "changes", report_plan_changes(old, document));
    }
    if (rc == 0 && survey_plan(survey)->feasible && !args->given[OPT_OFFLINE]) {
        AUTO_FREE char *command = recover_command(args);
        json_object_set_new(document, "next", json_string(command));
    }
    if (rc == 0)
        rc = print_result(args, document, text, err);
    json_decref(old);
    json_decref(document);
    if (rc < 0)
        return -1;
    return survey_plan(survey)->feasible ? 0 : err_code_exit_status(ERR_CHECK);
}

static int run(const struct arguments *args, struct err *err)
{
    CLEANUP(request_options_release) struct request_options owned = {.count = 0};
    struct survey_request request;
    struct survey *survey;
    struct state *st;

    if (outputs_check(args, err) < 0 || request_from_arguments(args, &request, &owned, err) < 0)
        return -1;
    if (state_open(NULL, STATE_MEMORY, &st, err) < 0)
        return -1;
    signals_end_at_once();
    request.arg = progress_new(false);
    request.tell = progress_tell;
    request.progress = progress_doing;
    int rc = survey_run(&request, st, &survey, err);
    progress_free(request.arg);
    if (rc == 0) {
        rc = show(args, survey, err);
        survey_free(survey);
    }
    state_close(st);
    return rc;
}

const struct command command_plan = {
    .name = "plan",
    .words = "CCS|--from-folders FOLDER... --hosts HOSTS",
    .summary = "dry run: layout, bytes, memory, time, what would be lost",
    .help =
        "Reads the CCS file, asks the hosts what they have and the locations what backups they "
        "hold, and prints where everything would go. Changes nothing, except with --measure. Exit "
        "status 4 means that the plan cannot work; the reasons are printed.",
    .min_words = 1,
    .max_words = 1,
    .options = OPTIONS(REQUEST_OPTIONS, OPT_OFFLINE, OPT_PLAN_OUT, OPT_DIFF, OPT_SVG, OPT_FORCE,
        OPT_JSON, OPT_HELP),
    .run = run,
};
