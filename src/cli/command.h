#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

/*
 * A command is a const struct beside its function. One table of options (options.c) gives the
 * parser, the usage line and the help of every command.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "recluster/buf.h"
#include "recluster/err.h"

/* X(identifier, name, argument or NULL, repeatable, help). "[db:1]" may be left out: then it is "".
 * A word behind the option is taken for it only if it begins as the example does, up to the ':'. */
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
    X(OPT_OPEN_DATABASES, "open-databases", "NAME", false,                                         \
        "remove also what clients use, with its data; NAME is the cluster's, to be sure")          \
    X(OPT_FENCE, "fence", NULL, false,                                                             \
        "stop servers that are left of the old cluster for good; plan only names them")            \
    X(OPT_FULL_SYNC, "full-sync", NULL, false,                                                     \
        "let primaries send their data to replicas, which otherwise load the same file")           \
    X(OPT_FAST_LOAD, "fast-load", NULL, false,                                                     \
        "load with huge pages on hosts that prove to load faster so; until their next "            \
        "restart servers then need more time and memory to fork")                                  \
    X(OPT_LOAD_WHILE_LANDING, "load-while-landing", "WHEN", false,                                 \
        "start servers on files that are still coming: auto (plain files from afar), always or "   \
        "never")                                                                                   \
    X(OPT_ACCEPT_NEW_HOST_KEYS, "accept-new-host-keys", NULL, false,                               \
        "trust SSH host keys that are new; they are kept in the state file only")                  \
    X(OPT_ACCEPT_WEAKER_ACCESS, "accept-weaker-access", "db:1", true,                              \
        "recover this database although access to it will be weaker than it was (without TLS or "  \
        "client certificates); may be repeated")                                                   \
    X(OPT_INSECURE, "insecure", NULL, false,                                                       \
        "send logins of --source and LOCATION also over connections without TLS")                  \
    X(OPT_FORCE, "force", NULL, false,                                                             \
        "replace the file that is written, if there is one already")                               \
    X(OPT_SLOTS, "slots", "SLOTS=FILE", true,                                                      \
        "write the keys of these slots to FILE (\"0-8191=a.rdb\"); may be repeated")               \
    X(OPT_SHARDS, "shards", "N", false, "split into N equal parts, in the folder of --out")        \
    X(OPT_OUT, "out", "OUT", false, "join: the file to write; split --shards: the folder")         \
    X(OPT_TAKE, "take", "SLOTS=FILE", true,                                                        \
        "of this input only the keys of these slots count; may be repeated")                       \
    X(OPT_STAMP, "stamp", NULL, false,                                                             \
        "give outputs a repl-id made of their data, so that replicas can start on them")           \
    X(OPT_RESORT, "resort", NULL, false,                                                           \
        "look for a shard's keys in all files of the backup set, where they are not in order")     \
    X(OPT_AOF_COMMANDS, "aof-commands", "NAMES", false,                                            \
        "replay also these commands of append-only files, which are no data: \"EVAL,EVALSHA\"")    \
    X(OPT_AOF_ERRORS, "aof-errors", NULL, false,                                                   \
        "do without what commands of append-only files wrote that the server refuses")             \
    X(OPT_OFFLINE, "offline", NULL, false,                                                         \
        "ask neither hosts nor locations: plan by the CCS file and HOSTS alone")                   \
    X(OPT_WITHOUT, "without", "host:NAME|rack:NAME", true,                                         \
        "as if these hosts, or a file on a disk (file:NAME:PATH), were not there; "                \
        "may be repeated")                                                                         \
    X(OPT_EXTRA, "extra", "HOSTS", true, "more hosts, of another file; may be repeated")           \
    X(OPT_NO_REPLICAS, "no-replicas", "[db:1]", true,                                              \
        "leave the replicas out, of this database or of all; may be repeated")                     \
    X(OPT_PRIORITY, "priority", "db:3,db:1", false,                                                \
        "recover these first, then the others; leave out what can't be recovered")                 \
    X(OPT_ONLY_CONFIGURATION, "only-configuration", NULL, false,                                   \
        "bring the databases back empty, with all their settings")                                 \
    X(OPT_ALLOW_MISSING_SLOTS, "allow-missing-slots", "SLOTS", false,                              \
        "do without the keys of these slots (\"0-5460,6000\")")                                    \
    X(OPT_PLAN_SHARDS, "shards", "db:1=N", true,                                                   \
        "bring this database back with N primaries; may be repeated")                              \
    X(OPT_RTO, "rto", "TIME", false,                                                               \
        "as many primaries as it takes to be ready in TIME (\"10m\")")                             \
    X(OPT_MEASURE, "measure", NULL, false,                                                         \
        "let each host measure its disk, by a file of up to 256 MiB that has no name and is gone " \
        "afterwards, and its way to the backups, for better estimates")                            \
    X(OPT_PLAN_OUT, "out", "FILE", false, "write the plan, for recover --plan")                    \
    X(OPT_DIFF, "diff", "FILE", false, "show what has changed since the plan in FILE")             \
    X(OPT_DOT, "dot", NULL, false, "print the layout for Graphviz")                                \
    X(OPT_SVG, "svg", "OUT", false, "draw the layout")                                             \
    X(OPT_PLAN, "plan", "FILE", false, "carry out just this plan, or say what has changed")        \
    X(OPT_PLAN_HASH, "plan-hash", "HASH", false, "refuse any plan but the one of this hash")       \
    X(OPT_REPLAN_LOST, "replan-lost", NULL, false,                                                 \
        "place the shards of hosts that stay away on others")                                      \
    X(OPT_PATIENCE, "patience", "TIME", false,                                                     \
        "how long a host may stay away before it is given up (60 s)")                              \
    X(OPT_LOCATION, "location", "FILE", true,                                                      \
        "a JSON file with a location, as in hosts.json; may be repeated")                          \
    X(OPT_LIMIT_RATE, "limit-rate", "BYTES", false,                                                \
        "read no more bytes a second than this, all transfers together (\"50M\")")                 \
    X(OPT_DIGEST, "digest", NULL, false,                                                           \
        "make the SHA-256 of each file, unpacked, which takes the longest time of all checks")     \
    X(OPT_FETCHES, "fetches", "N", false,                                                          \
        "fetch no more files than N at a time, all hosts together (256)")                          \
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
    uint64_t options; /* OPTION_BIT() of each */
    bool hidden;      /* not in the list of commands */
    /* The exit status, or -1 with err set. */
    int (*run)(const struct arguments *args, struct err *err);
};

#define OPTION_BIT(option) ((uint64_t)1 << (option))

/* Some of it was done; all other statuses are those of errors (recluster/err.h). */
enum { EXIT_PARTLY = 3 };
/* What is to be checked could not be asked. */
enum { EXIT_NOT_ASKED = 6 };

extern const struct command command_inspect, command_plan, command_recover, command_status,
    command_report, command_verify, command_abort, command_agent, command_rdb;

/* Parses what stands behind the command's name. Free with arguments_release(). */
int arguments_parse(const struct command *command, int argc, char **argv, struct arguments *ret,
    struct err *err) MUST_CHECK;
void arguments_release(struct arguments *args);
const char *argument(const struct arguments *args, enum option option); /* the last one, or NULL */

/* --limit-rate, bytes a second; 0: not given. */
int argument_rate(const struct arguments *args, int64_t *ret, struct err *err) MUST_CHECK;

/*
 * Adds the words and those of the options `which` that were given, for a shell: " ccs.rdb --hosts
 * hosts.json". A location with a password or a signature in it stands there as in the help, a file whose name
 * begins with '-' as "./-…".
 */
void arguments_text(const struct arguments *args, uint64_t which, struct buf *out);

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

/*
 * outputs.c: every option that writes a file. outputs_check(), before anything is done: an output is
 * never an input (the file itself by whatever name, or one in a folder that is read), and not a file
 * that is there, unless --force is given. ERR_CHECK. output_write() checks the same again.
 */
int outputs_check(const struct arguments *args, struct err *err) MUST_CHECK;
int output_write(const struct arguments *args, const char *path, const struct buf *text,
    struct err *err) MUST_CHECK;

/* location.c: the location of a path or URL on the command line; a new reference. */
json_t *location_of_word(const struct arguments *args, const char *text);
/* Where a file lies that is named by its path or URL. Close it with store_close(). */
struct store;
struct store *open_file_location(const struct arguments *args, const char *word,
    const char **ret_name, struct err *err) MUST_CHECK;

/* request.c: options that `plan` and `recover` share. */
struct survey_request;
struct request_options {
    struct survey_source *sources;
    char **copies;
    size_t count;
    json_t *options, *plan;
};
/* The bits of all options that it reads. */
#define REQUEST_OPTIONS                                                                            \
    (OPTION_BIT(OPT_HOSTS) | OPTION_BIT(OPT_DATABASE) | OPTION_BIT(OPT_SOURCE) |                   \
        OPTION_BIT(OPT_AT) | OPTION_BIT(OPT_OLD_CLUSTER_IS_DEAD) |                                 \
        OPTION_BIT(OPT_ACCEPT_NEW_HOST_KEYS) | OPTION_BIT(OPT_INSECURE) |                          \
        OPTION_BIT(OPT_ACCEPT_WEAKER_ACCESS) | OPTION_BIT(OPT_WITHOUT) | OPTION_BIT(OPT_EXTRA) |   \
        OPTION_BIT(OPT_NO_REPLICAS) | OPTION_BIT(OPT_PRIORITY) |                                   \
        OPTION_BIT(OPT_ONLY_CONFIGURATION) | OPTION_BIT(OPT_ALLOW_MISSING_SLOTS) |                 \
        OPTION_BIT(OPT_PLAN_SHARDS) | OPTION_BIT(OPT_RTO) | OPTION_BIT(OPT_MEASURE) |              \
        OPTION_BIT(OPT_FENCE) | OPTION_BIT(OPT_RESORT))
int request_from_arguments(const struct arguments *args, struct survey_request *ret,
    struct request_options *ret_owned, struct err *err) MUST_CHECK;
void request_options_release(struct request_options *owned);
json_t *read_plan(const char *path, struct err *err); /* as --out wrote it */

#endif
