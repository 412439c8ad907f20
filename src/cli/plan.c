#include "command.h"
#include "recluster/recover.h"
#include "recluster/report.h"

static int show(const struct arguments *args, const struct survey *survey, struct err *err)
{
    json_t *document = survey_plan_json(survey);
    int rc = print_result(args, document, report_plan_text, err);

    json_decref(document);
    if (rc < 0)
        return -1;
    return survey_plan(survey)->feasible ? 0 : err_code_exit_status(ERR_CHECK);
}

static int run(const struct arguments *args, struct err *err)
{
    CLEANUP(request_options_release) struct request_options owned;
    struct recover_request request;
    struct survey *survey;
    struct state *st;

    if (request_from_arguments(args, &request, &owned, err) < 0)
        return -1;
    if (state_open(NULL, STATE_MEMORY, &st, err) < 0)
        return -1;
    int rc = recover_survey(&request, st, &survey, err);
    if (rc == 0) {
        rc = show(args, survey, err);
        survey_free(survey);
    }
    state_close(st);
    return rc;
}

const struct command command_plan = {
    .name = "plan",
    .words = "CCS",
    .summary = "dry run: layout, bytes, memory, time, what would be lost",
    .help = "Reads the CCS file, asks the hosts what they have and the locations what backups they "
            "hold, and prints where everything would go. Touches nothing. Exit status 4 says that "
            "the plan can't work; the reasons are printed.",
    .min_words = 1,
    .max_words = 1,
    .options = OPTION_BIT(OPT_HOSTS) | OPTION_BIT(OPT_DATABASE) | OPTION_BIT(OPT_SOURCE) |
               OPTION_BIT(OPT_AT) | OPTION_BIT(OPT_OLD_CLUSTER_IS_DEAD) | OPTION_BIT(OPT_JSON) |
               OPTION_BIT(OPT_HELP),
    .run = run,
};
