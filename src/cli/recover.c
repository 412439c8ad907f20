#include "recluster/recover.h"
#include "recluster/aof.h"
#include "recluster/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "progress.h"
#include "recluster/file.h"
#include "recluster/human.h"
#include "recluster/report.h"
#include "recluster/shell_quote.h"
#include "signals.h"

enum { PATIENCE_MS = 60 * 1000 };

static void print_event(void *arg, const json_t *event)
{
    struct err ignored = ERR_INIT;
    (void)arg;
    (void)!print_json_line(event, &ignored);
}

static int show_plan(const struct survey *survey, bool json, struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    json_t *plan = survey_plan_json(survey);
    int rc;

    if (json) {
        json_t *event = json_pack("{s:s, s:O}", "event", "plan", "plan", plan);
        rc = print_json_line(event, err);
        json_decref(event);
    } else {
        report_plan_text(plan, print_colour(STDOUT_FILENO), &text);
        rc = print_text(&text, err);
    }
    json_decref(plan);
    return rc;
}

static int refuse_plan(const struct plan *plan, struct err *err)
{
    const struct plan_issue *first = &plan->blockers[0];

    for (size_t i = 0; i < plan->blocker_count; i++)
        if (strcmp(plan->blockers[i].code, "host-locked") == 0) {
            err_set(err, ERR_LOCKED, "%s", plan->blockers[i].message);
            return err_hint(err, "%s", plan->blockers[i].hint);
        }
    err_set(err, ERR_CHECK, "the plan cannot work: %s", first->message);
    if (plan->blocker_count > 1)
        err_set(err, ERR_CHECK, "the plan cannot work: %s (and %zu more, see above)",
            first->message, plan->blocker_count - 1);
    return first->hint ? err_hint(err, "%s", first->hint) : -1;
}

static int confirm(const struct plan *plan, const struct arguments *args, struct err *err)
{
    size_t fenced = 0;

    if (args->given[OPT_YES])
        return 0;
    for (size_t i = 0; i < plan->warning_count; i++)
        fenced += strcmp(plan->warnings[i].code, "fence") == 0;
    AUTO_FREE char *first =
        fenced > 0 ? xasprintf("Stop %zu server%s of the old cluster for good, and recover", fenced,
                         fenced == 1 ? "" : "s")
                   : xstrdup("Recover");
    AUTO_FREE char *question = xasprintf("%s %zu database%s onto %zu host%s?", first,
        plan->database_count, plan->database_count == 1 ? "" : "s", plan->host_count,
        plan->host_count == 1 ? "" : "s");
    return ask_yes(question, err);
}

/* Checks that hosts and locations still match the given plan, so that exactly this plan runs. */
static int check_plan(const struct survey *survey, const json_t *wanted, bool json, struct err *err)
{
    const char *hash = json_text(wanted, "hash", NULL);
    const struct plan *plan = survey_plan(survey);
    CLEANUP(buf_release) struct buf text = BUF_INIT;

    if (!wanted || strcmp(hash, plan->hash) == 0)
        return 0;
    json_t *document = survey_plan_json(survey);
    json_t *changes = report_plan_changes(wanted, document);
    json_t *event = json_pack("{s:s, s:O}", "event", "plan-changed", "changes", changes);
    if (!json)
        report_plan_changes_text(changes, print_colour(STDOUT_FILENO), &text);
    int rc = json ? print_json_line(event, err) : print_text(&text, err);
    bool edited = json_array_size(changes) == 0;
    json_decref(event);
    json_decref(changes);
    json_decref(document);
    if (rc < 0)
        return -1;
    if (plan->blocker_count > 0)
        err_set(
            err, ERR_CHECK, "the plan can no longer be executed: %s", plan->blockers[0].message);
    else
        err_set(err, ERR_CHECK, "the plan cannot be executed unchanged: %s",
            edited ? "its file was changed by hand" : "things have changed, see above");
    return err_hint(err, "Make a new plan, and look at what it changes with --diff.");
}

/* Options for all runs of this recovery, and their keys in the state file. */
static const struct {
    enum option option;
    const char *key;
} choices[] = {
    {OPT_FULL_SYNC, "full_sync"},
    {OPT_FAST_LOAD, "fast_load"},
    {OPT_LOAD_WHILE_LANDING, "load_while_landing"},
    {OPT_RESORT, "resort"},
    {OPT_SHIFT_TTL, "shift_ttl"},
    {OPT_AOF_COMMANDS, "aof_commands"},
    {OPT_AOF_ERRORS, "aof_errors"},
};

/* Options for a single run, also a resumed one. */
static const enum option of_each_run[] = {OPT_STATE, OPT_KEY, OPT_UNTIL, OPT_LIMIT_RATE,
    OPT_FETCHES, OPT_REPLAN_LOST, OPT_PATIENCE, OPT_OLD_CLUSTER_IS_DEAD, OPT_ACCEPT_NEW_HOST_KEYS,
    OPT_JSON, OPT_YES, OPT_VERBOSE, OPT_HELP, OPT_COUNT};

static bool is_new(const struct arguments *args)
{
    return args->word_count || args->given[OPT_FROM_FOLDERS];
}

static int keep_choices(const struct arguments *args, struct state *st, struct err *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(choices); i++) {
        const char *value = argument(args, choices[i].option);
        if (args->given[choices[i].option] &&
            state_set_meta(st, choices[i].key, value ? value : "yes", err) < 0)
            return -1;
    }
    return 0;
}

static int refuse_what_is_planned(const struct arguments *args, struct err *err)
{
    if (args->given[OPT_FENCE]) {
        err_set(err, ERR_USAGE, "'--fence' can't be given to a recovery that has begun");
        return err_hint(
            err, "The plan already lists what will be stopped. Stop anything else by hand.");
    }
    for (enum option i = 0; i < OPT_COUNT; i++)
        if (args->given[i] && !options_have(of_each_run, i)) {
            err_set(err, ERR_USAGE, "'--%s' can't be given to a recovery that has begun",
                option_name(i));
            return err_hint(err,
                "Give it with the CCS file when a recovery starts. To start over, run `recluster abort` first.");
        }
    return 0;
}

/* For later plans. A failure does not harm the recovery. */
static void learn_rates(struct state *st)
{
    struct err err = ERR_INIT;

    if (rates_learn(st, &err) < 0)
        print_error(&err);
}

/* Makes a state file with a plan from the CCS file. */
static int begin(const struct arguments *args, const char *path, struct state *st, struct err *err)
{
    CLEANUP(request_options_release) struct request_options owned = {.count = 0};
    struct survey_request request;
    struct survey *survey;

    if (request_from_arguments(args, &request, &owned, err) < 0)
        return -1;
    if (file_exists(path)) {
        AUTO_FREE char *word = shell_word(path);
        err_set(err, ERR_CHECK, "the state file '%s' exists already", path);
        return err_hint(err,
            "Resume that recovery with: recluster recover --state %s; or name another "
            "file.",
            word);
    }
    request.arg = progress_new(args->given[OPT_VERBOSE]);
    request.tell = progress_tell;
    request.progress = progress_doing;
    int rc = survey_run(&request, st, &survey, err);
    progress_free(request.arg);
    if (rc < 0)
        return -1;
    const struct plan *plan = survey_plan(survey);
    rc = show_plan(survey, args->given[OPT_JSON], err);
    if (rc == 0)
        rc = check_plan(survey, request.plan, args->given[OPT_JSON], err);
    if (rc == 0 && !plan->feasible)
        rc = refuse_plan(plan, err);
    if (rc == 0)
        rc = confirm(plan, args, err);
    if (rc == 0 && request.old_cluster_is_dead)
        rc = state_set_meta(st, "old_cluster_is_dead", request.old_cluster_is_dead, err);
    if (rc == 0)
        rc = keep_choices(args, st, err);
    /* Also of a plan that was made earlier. */
    if (rc == 0 && json_flag(request.options, "resort"))
        rc = state_set_meta(st, "resort", "yes", err);
    if (rc == 0)
        rc = recover_save_plan(survey, st, err);
    survey_free(survey);
    return rc < 0 ? -1 : state_save_as(st, path, err);
}

static int show_end(
    struct state *st, const char *path, const struct arguments *args, struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    json_t *status;

    if (report_status_json(st, path, &status, err) < 0)
        return -1;
    int rc;
    if (args->given[OPT_JSON]) {
        json_t *event = json_pack("{s:s, s:O}", "event", "status", "status", status);
        rc = print_json_line(event, err);
        json_decref(event);
    } else {
        report_status_text(status, print_colour(STDOUT_FILENO), &text);
        rc = print_text(&text, err);
    }
    json_decref(status);
    return rc;
}

static int exit_status(const struct recover_result *result)
{
    if (result->failed + result->skipped + result->waiting == 0)
        return 0;
    if (signals_exit_status())
        return signals_exit_status();
    if (result->done)
        return EXIT_PARTLY;
    if (result->first_error.code != ERR_NONE)
        return err_code_exit_status(result->first_error.code);
    return result->failed ? err_code_exit_status(ERR_FAILED) : 0; /* stopped by --until */
}

static int parse_until(const char *word, enum plan_stage *ret, struct err *err)
{
    *ret = STAGE_OPEN;
    if (!word)
        return 0;
    for (*ret = STAGE_PREPARE; *ret <= STAGE_OPEN; (*ret)++)
        if (strcmp(plan_stage_name(*ret), word) == 0)
            return 0;
    err_set(err, ERR_USAGE, "--until: '%s' is not a stage", word);
    return err_hint(err, "Stages are: prepare, transfer, load, open.");
}

static int check_aof_commands(const char *names, struct err *err)
{
    AUTO_FREE char *copy = xstrdup(names ? names : "");
    char *rest = copy;

    for (const char *name; names && (name = strsep(&rest, ","));) {
        if (!*name)
            return err_set(err, ERR_USAGE, "--aof-commands: '%s' has an empty name", names);
        if (!aof_command_is_never(name))
            continue;
        err_set(err, ERR_USAGE, "--aof-commands: '%s' is never replayed", name);
        return err_hint(err, "No server writes it to an append-only file.");
    }
    return 0;
}

static int check_landing(const char *word, struct err *err)
{
    if (!word || strcmp(word, "auto") == 0 || strcmp(word, "always") == 0 ||
        strcmp(word, "never") == 0)
        return 0;
    return err_set(err, ERR_USAGE, "--load-while-landing: '%s' is not auto, always or never", word);
}

static int parse_patience(const char *word, int64_t *ret_ms, struct err *err)
{
    int64_t seconds;

    if (!word)
        return 0;
    if (human_parse_seconds(word, &seconds, err) < 0)
        return err_wrap(err, "--patience");
    *ret_ms = seconds * 1000;
    return 0;
}

static int parse_fetches(const char *word, int64_t *ret, struct err *err)
{
    char *end;

    if (!word)
        return 0;
    *ret = strtol(word, &end, 10);
    if (end == word || *end || *ret < 1)
        return err_set(err, ERR_USAGE, "--fetches: '%s' is not a number of files", word);
    return 0;
}

static int run_recovery(
    const struct arguments *args, const char *path, enum plan_stage until, struct err *err)
{
    struct recover_hooks hooks = {
        .until = until,
        .progress = progress_show,
        .old_cluster_is_dead = argument(args, OPT_OLD_CLUSTER_IS_DEAD),
        .accept_new_host_keys = args->given[OPT_ACCEPT_NEW_HOST_KEYS],
        .fetches = PLAN_FETCHES,
        .patience_ms = PATIENCE_MS,
        .replan_lost = args->given[OPT_REPLAN_LOST],
    };
    struct recover_result result;
    struct progress *progress;
    struct state *st;

    if (signals_catch(&hooks.interrupt_fd, err) < 0 ||
        argument_rate(args, &hooks.limit_rate, err) < 0 ||
        parse_fetches(argument(args, OPT_FETCHES), &hooks.fetches, err) < 0 ||
        parse_patience(argument(args, OPT_PATIENCE), &hooks.patience_ms, err) < 0 ||
        state_open(path, STATE_EXISTING, &st, err) < 0)
        return -1;
    progress = progress_new(args->given[OPT_VERBOSE]);
    hooks.arg = progress;
    if (args->given[OPT_JSON])
        state_on_event(st, print_event, NULL);
    else
        state_on_event(st, progress_event, progress);
    int rc = recover_run(st, &hooks, &result, err);
    progress_free(progress);
    /* A recovery with an interruption teaches nothing about rates. */
    if (rc == 0 && is_new(args) && result.done > 0)
        learn_rates(st);
    if (rc == 0)
        rc = show_end(st, path, args, err);
    state_close(st);
    return rc < 0 ? -1 : exit_status(&result);
}

static int run(const struct arguments *args, struct err *err)
{
    const char *path = argument(args, OPT_STATE);
    enum plan_stage until;
    struct state *st;

    if (parse_until(argument(args, OPT_UNTIL), &until, err) < 0 ||
        check_landing(argument(args, OPT_LOAD_WHILE_LANDING), err) < 0 ||
        check_aof_commands(argument(args, OPT_AOF_COMMANDS), err) < 0)
        return -1;
    if (!path) {
        err_set(err, ERR_USAGE, "'recover' needs a state file to keep its records in");
        return err_hint(err, "Add --state FILE; the same file resumes the recovery later.");
    }
    if (!is_new(args) && refuse_what_is_planned(args, err) < 0)
        return -1;
    signals_end_at_once();
    if (is_new(args)) {
        if (state_open(NULL, STATE_MEMORY, &st, err) < 0)
            return -1;
        int rc = begin(args, path, st, err);
        state_close(st);
        if (rc < 0)
            return -1;
    }
    return run_recovery(args, path, until, err);
}

const struct command command_recover = {
    .name = "recover",
    .words = "[CCS --hosts HOSTS] --state FILE",
    .summary = "plan and recover; with --state alone: resume",
    .help =
        "With CCS (or --from-folders): plans as `recluster plan` does, asks, then rebuilds the databases in four "
        "stages: prepare, transfer, load, open. With --state FILE alone: resumes a recovery "
        "that was interrupted, whatever the cause. It is safe to run this again at any time.",
    .max_words = 1,
    .options = OPTIONS(REQUEST_OPTIONS, OPT_PLAN, OPT_PLAN_HASH, OPT_STATE, OPT_UNTIL,
        OPT_LIMIT_RATE, OPT_FETCHES, OPT_FULL_SYNC, OPT_FAST_LOAD, OPT_LOAD_WHILE_LANDING,
        OPT_RESORT, OPT_SHIFT_TTL, OPT_AOF_COMMANDS, OPT_AOF_ERRORS, OPT_REPLAN_LOST, OPT_PATIENCE,
        OPT_JSON, OPT_YES, OPT_VERBOSE, OPT_HELP),
    .run = run,
};
