#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

/*
 * A command is a const struct beside its function. One table of options (options.c) gives the
 * parser, the usage line and the help of every command.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "recluster/buf.h"
#include "recluster/err.h"

/* X(identifier, name, argument or NULL, repeatable, help) */
#define CLI_OPTIONS(X)                                                                             \
    X(OPT_HOSTS, "hosts", "HOSTS", false, "the machines to recover onto (hosts.json)")             \
    X(OPT_STATE, "state", "FILE", false, "the state file of the recovery")                         \
    X(OPT_DATABASE, "database", "db:1|NAME", true, "only this database; may be repeated")          \
    X(OPT_SOURCE, "source", "db:1=LOCATION", true,                                                 \
        "where its backups are, instead of what the CCS file says; may be repeated")               \
    X(OPT_AT, "at", "TIME", false, "use the newest complete backup set not after TIME")            \
    X(OPT_UNTIL, "until", "STAGE", false, "stop after prepare, transfer, load or open")            \
    X(OPT_OLD_CLUSTER_IS_DEAD, "old-cluster-is-dead", "NAME", false,                               \
        "don't ask the old cluster; NAME is its name, to be sure")                                 \
    X(OPT_HTML, "html", "OUT", false, "write one self-contained page")                             \
    X(OPT_JSON, "json", NULL, false, "print JSON")                                                 \
    X(OPT_YES, "yes", NULL, false, "don't ask")                                                    \
    X(OPT_VERBOSE, "verbose", NULL, false, "tell each step on standard error")                     \
    X(OPT_HELP, "help", NULL, false, "print this help")

enum option {
#define CLI_ENUM(id, name, arg, repeatable, help) id,
    CLI_OPTIONS(CLI_ENUM)
#undef CLI_ENUM
        OPT_COUNT
};

struct arguments {
    const char **words; /* what is no option; NULL-ended */
    size_t word_count;
    bool given[OPT_COUNT];
    const char **values[OPT_COUNT]; /* NULL-ended; NULL if not given */
};

struct command {
    const char *name;
    const char *words;   /* for the usage line: "CCS", "FILE|LOCATION…"; may be "" */
    const char *summary; /* one line, no full stop */
    const char *help;    /* more about it, one paragraph; may be NULL */
    size_t min_words, max_words;
    unsigned options; /* 1u << OPT_… */
    bool hidden;      /* not in the list of commands */
    /* The exit status, or -1 with err set. */
    int (*run)(const struct arguments *args, struct err *err);
};

#define OPTION_BIT(option) (1u << (option))

extern const struct command command_inspect, command_plan, command_recover, command_status,
    command_report, command_verify, command_abort, command_agent;

/* Parses what stands behind the command's name. Free with arguments_release(). */
int arguments_parse(const struct command *command, int argc, char **argv, struct arguments *ret,
    struct err *err) MUST_CHECK;
void arguments_release(struct arguments *args);
const char *argument(const struct arguments *args, enum option option); /* the last one, or NULL */

void command_usage(const struct command *command, struct buf *out);
void command_help(const struct command *command, struct buf *out);

/* The whole program: table is NULL-ended. Returns the exit status. */
int cli_main(const struct command *const *table, int argc, char **argv);

/* print.c */
bool print_colour(int fd); /* a terminal, and NO_COLOR is not set */
int print_text(const struct buf *text, struct err *err) MUST_CHECK;
int print_json(const json_t *document, struct err *err) MUST_CHECK; /* indented */
/* The one result of a command: as JSON with --json, else as `text` writes it. */
int print_result(const struct arguments *args, const json_t *document,
    void (*text)(const json_t *document, bool colour, struct buf *out), struct err *err) MUST_CHECK;
int print_json_line(const json_t *document, struct err *err) MUST_CHECK; /* one line, flushed */
void print_error(const struct err *err);
/* What comes from files and peers must not steer the terminal: control characters become '?'. */
void print_plain(FILE *out, const char *text);

/* Asks on the terminal; ERR_CHECK where there is none, or if the answer isn't "yes". */
int ask_yes(const char *question, struct err *err) MUST_CHECK;

/* request.c: options that `plan` and `recover` share. */
struct recover_request;
struct request_options {
    struct recover_source *sources;
    char **copies;
    size_t count;
};
int request_from_arguments(const struct arguments *args, struct recover_request *ret,
    struct request_options *ret_owned, struct err *err) MUST_CHECK;
void request_options_release(struct request_options *owned);

#endif
