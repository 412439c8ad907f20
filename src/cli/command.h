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

/*
 * X(identifier, group, name, argument or NULL, repeatable, help). "[db:1]" is optional: without it
 * the value is "". The word after the option is its value only if it begins as the example does, up
 * to the ':'.
 */
#define CLI_OPTIONS(X)                                                                                                                      \
    X(OPT_HOSTS, FOR_WHAT, "hosts", "HOSTS", true,                                                                                          \
        "the hosts file: machines to recover onto, or that have the servers; repeat it for more")                                           \
    X(OPT_STATE, FOR_WHAT, "state", "FILE", false, "the state file of the recovery")                                                        \
    X(OPT_DATABASE, FOR_WHAT, "database", "db:1|NAME", true,                                                                                \
        "only this database; may be repeated")                                                                                              \
    X(OPT_PRIORITY, FOR_WHAT, "priority", "db:3,db:1", false,                                                                               \
        "recover these first, then the others; leave out what cannot be recovered")                                                         \
    X(OPT_SOURCE, FOR_WHAT, "source", "db:1=LOCATION", true,                                                                                \
        "read its backups from LOCATION, not where the CCS file says; may be repeated")                                                     \
    X(OPT_LOCATION, FOR_WHAT, "location", "FILE", true,                                                                                     \
        "a JSON file with a location, as in hosts.json; may be repeated")                                                                   \
    X(OPT_AT, FOR_WHAT, "at", "TIME", false,                                                                                                \
        "use the newest complete backup set that is not after TIME")                                                                        \
    X(OPT_ALLOW_MISSING_SLOTS, FOR_WHAT, "allow-missing-slots", "SLOTS", false,                                                             \
        "accept that the keys of these slots are lost (\"0-5460,6000\")")                                                                   \
    X(OPT_RESORT, FOR_WHAT, "resort", NULL, false,                                                                                          \
        "search every file of the set for each shard's keys (backups taken while resharding)")                                              \
    X(OPT_SHIFT_TTL, FOR_WHAT, "shift-ttl", NULL, false,                                                                                    \
        "let keys expire later, by the time since their backup: none is lost because of the outage")                                        \
    X(OPT_RDB_SHIFT_TTL, FOR_FILES, "shift-ttl", "TIME", false,                                                                             \
        "let keys expire so much later (\"36h\")")                                                                                          \
    X(OPT_AOF_COMMANDS, FOR_WHAT, "aof-commands", "NAMES", false,                                                                           \
        "also replay these commands of append-only files, which are not data: \"EVAL,EVALSHA\"")                                            \
    X(OPT_AOF_ERRORS, FOR_WHAT, "aof-errors", NULL, false,                                                                                  \
        "accept that commands of append-only files are lost if the server refuses them")                                                    \
    X(OPT_ONLY_CONFIGURATION, FOR_WHAT, "only-configuration", NULL, false,                                                                  \
        "create the databases empty, with all their settings")                                                                              \
    X(OPT_KEY, FOR_WHAT, "key", "FILE", false, "the private key of encrypted files")                                                        \
    X(OPT_ENCRYPT_TO, FOR_SAFETY, "encrypt-to", "KEY", true,                                                                                \
        "encrypt what is written: a public key of age, a file of such keys, or the name of a key that gpg has")                             \
    X(OPT_TO, FOR_WHAT, "to", "LOCATION", true, "write there: a folder or a URL; may be repeated")                                          \
    X(OPT_FROM, FOR_WHAT, "from", "PLACE", true,                                                                                            \
        "take the CCS file that Redis Enterprise writes: ssh://NODE/…/ccs-redis.rdb, docker://NAME/…, HOST:/…")                             \
    X(OPT_FROM_FOLDER, FOR_WHAT, "from-folder", "FOLDER", true,                                                                             \
        "ask no server: read the data folder of one that no longer runs; may be repeated")                                                  \
    X(OPT_FROM_FOLDERS, FOR_WHAT, "from-folders", "FOLDER", true,                                                                           \
        "instead of CCS: the data folders of all dead servers, which have the data: FOLDER, ssh://…, HOST:/…")                              \
    X(OPT_SETTINGS, FOR_WHAT, "settings", "FILE", false,                                                                                    \
        "for a nodes.json: the redis.conf or valkey.conf of an old server (without it: the one beside nodes.json)")                         \
    X(OPT_NAME, FOR_WHAT, "name", "NAME", false, "the name of the cluster")                                                                 \
    X(OPT_USER, FOR_LOGIN, "user", "NAME", false, "log in as this user")                                                                    \
    X(OPT_PASSWORD, FOR_LOGIN, "password", "FILE", false, "a file that holds the user's password")                                          \
    X(OPT_SENTINEL_USER, FOR_LOGIN, "sentinel-user", "NAME", false,                                                                         \
        "the same for Sentinels, if they have another user")                                                                                \
    X(OPT_SENTINEL_PASSWORD, FOR_LOGIN, "sentinel-password", "FILE", false,                                                                 \
        "a file that holds the password of that user")                                                                                      \
    X(OPT_TLS, FOR_LOGIN, "tls", NULL, false, "connect by TLS")                                                                             \
    X(OPT_TLS_CA, FOR_LOGIN, "tls-ca", "FILE", false,                                                                                       \
        "the CA that signed the servers' certificates (without it: the CAs of this machine)")                                               \
    X(OPT_TLS_CERT, FOR_LOGIN, "tls-cert", "FILE", false, "a certificate to show to the servers")                                           \
    X(OPT_TLS_KEY, FOR_LOGIN, "tls-key", "FILE", false, "its private key")                                                                  \
    X(OPT_TLS_ANY_NAME, FOR_LOGIN, "tls-any-name", NULL, false,                                                                             \
        "accept a certificate of that CA whatever name it was made for")                                                                    \
    X(OPT_ACL, FOR_LOGIN, "acl", NULL, false,                                                                                               \
        "print the rights that the user needs, and do nothing else")                                                                        \
    X(OPT_WAIT, FOR_RUN, "wait", "TIME", false,                                                                                             \
        "wait this long for a failover or a move of slots to end (30s)")                                                                    \
    X(OPT_FOLLOW, FOR_RUN, "follow", NULL, false, "keep the file up to date until a signal comes")                                          \
    X(OPT_EVERY, FOR_RUN, "every", "TIME", false, "ask all servers so often (10s)")                                                         \
    X(OPT_KEEP, FOR_RUN, "keep", "RULES", false,                                                                                            \
        "of the last 24h one dated copy for each 5m, of the last 30d one for each day: 24h:5m,30d:1d")                                      \
    X(OPT_KEEP_SETS, FOR_WHAT, "keep", "RULES", false,                                                                                      \
        "of the last 7d one set for each 1h, of the last 90d one for each day: 7d:1h,90d:1d")                                               \
    X(OPT_KEEP_LAST, FOR_WHAT, "keep-last", "N", false,                                                                                     \
        "keep the last N complete sets of each database")                                                                                   \
    X(OPT_KEEP_ARCHIVE, FOR_WHAT, "keep-archive", "TIME", false,                                                                            \
        "keep the moments of archives that are not older than TIME")                                                                        \
    X(OPT_DRY_RUN, FOR_RUN, "dry-run", NULL, false, "only say what would be removed")                                                       \
    X(OPT_SPOOL, FOR_RUN, "spool", "FOLDER", false,                                                                                         \
        "where copies wait for a location that cannot be written to")                                                                       \
    X(OPT_COMPRESS, FOR_RUN, "compress", "KIND", false,                                                                                     \
        "compress with zstd, gzip or none (zstd; gzip for plain RDB files)")                                                                \
    X(OPT_POLICY, FOR_RUN, "policy", "FILE|ccs", false,                                                                                     \
        "take only sets that are due, and remove old ones, as FILE says, or the CCS file that is given")                                    \
    X(OPT_FORM, FOR_RUN, "form", "FORM", false,                                                                                             \
        "rdb: plain RDB files, which a server makes here; rdb+stream: as they come (rdb+stream)")                                           \
    X(OPT_SERVER, FOR_RUN, "server", "PROGRAM", false,                                                                                      \
        "the server that makes plain RDB files (redis-server)")                                                                             \
    X(OPT_ARCHIVE, FOR_RUN, "follow", NULL, false,                                                                                          \
        "keep every instant from now on, until a signal comes")                                                                             \
    X(OPT_CUTS, FOR_RUN, "cuts", "TIME", false, "--follow: prove a moment so often (1s)")                                                   \
    X(OPT_SEGMENT, FOR_RUN, "segment", "TIME", false,                                                                                       \
        "--follow: send what was written so often (10s)")                                                                                   \
    X(OPT_BACKUP_EVERY, FOR_RUN, "every", "TIME", false,                                                                                    \
        "--unit: a timer that starts it so often (1d)")                                                                                     \
    X(OPT_BASE_EVERY, FOR_RUN, "base-every", "TIME", false,                                                                                 \
        "--follow: take a data set so often (1d)")                                                                                          \
    X(OPT_BASE_RTO, FOR_RUN, "rto", "TIME", false,                                                                                          \
        "--follow: take a data set when the stream behind the last one would be loaded for TIME")                                           \
    X(OPT_VERIFY, FOR_RUN, "verify", "HOW", false,                                                                                          \
        "read back from LOCATION: the size of the files, their digest, or check them in full (size)")                                       \
    X(OPT_SERVER_FILES, FOR_RUN, "server-files", NULL, false,                                                                               \
        "let the servers make files on their own disks (BACKUP START, of Redis 8.10)")                                                      \
    X(OPT_FORKS, FOR_RUN, "forks", "N", false,                                                                                              \
        "let at most N servers make a data set at the same time (2)")                                                                       \
    X(OPT_STREAM_SPOOL, FOR_RUN, "spool", "FOLDER", false,                                                                                  \
        "where streams wait for the data sets (/var/tmp)")                                                                                  \
    X(OPT_CHECK, FOR_OUTPUT, "check", "TIME", false,                                                                                        \
        "ask no server: say whether the file at each location is true, and not older than TIME")                                            \
    X(OPT_METRICS, FOR_OUTPUT, "metrics", "FILE", false,                                                                                    \
        "write the age of what was kept and more to FILE, as Prometheus reads it")                                                          \
    X(OPT_UNIT, FOR_OUTPUT, "unit", NULL, false,                                                                                            \
        "print systemd units that run this command, and do nothing else")                                                                   \
    X(OPT_WITHOUT_SECRETS, FOR_SAFETY, "without-secrets", NULL, false,                                                                      \
        "leave out passwords and their hashes")                                                                                             \
    X(OPT_WITHOUT, FOR_LAYOUT, "without", "host:NAME|rack:NAME", true,                                                                      \
        "plan without these hosts, or without a file on a disk (file:NAME:PATH); may be repeated")                                          \
    X(OPT_NO_REPLICAS, FOR_LAYOUT, "no-replicas", "[db:1]", true,                                                                           \
        "create no replicas, for this database or for all; may be repeated")                                                                \
    X(OPT_PLAN_SHARDS, FOR_LAYOUT, "shards", "db:1=N", true,                                                                                \
        "give this database N primaries; may be repeated")                                                                                  \
    X(OPT_RTO, FOR_LAYOUT, "rto", "TIME", false,                                                                                            \
        "add primaries until the estimated recovery fits into TIME (\"10m\")")                                                              \
    X(OPT_MEASURE, FOR_LAYOUT, "measure", NULL, false,                                                                                      \
        "measure each host's disk (with a temporary file of up to 256 MiB) and its bandwidth to the backups")                               \
    X(OPT_OFFLINE, FOR_LAYOUT, "offline", NULL, false,                                                                                      \
        "ask no host and no location: plan from the CCS file and HOSTS alone")                                                              \
    X(OPT_PLAN, FOR_LAYOUT, "plan", "FILE", false,                                                                                          \
        "run the plan in FILE, or refuse and show what has changed")                                                                        \
    X(OPT_PLAN_HASH, FOR_LAYOUT, "plan-hash", "HASH", false,                                                                                \
        "with --plan: refuse any plan but the one with this hash")                                                                          \
    X(OPT_DIFF, FOR_LAYOUT, "diff", "FILE", false, "show what has changed since the plan in FILE")                                          \
    X(OPT_OLD_CLUSTER_IS_DEAD, FOR_SAFETY, "old-cluster-is-dead", "NAME", false,                                                            \
        "skip the check that the old cluster is down; NAME must be its name")                                                               \
    X(OPT_FENCE, FOR_SAFETY, "fence", NULL, false,                                                                                          \
        "stop the servers that are left of the old cluster, for good; plan only names them")                                                \
    X(OPT_OPEN_DATABASES, FOR_SAFETY, "open-databases", "NAME", false,                                                                      \
        "also remove databases that clients use, with their data; NAME must be the cluster's name")                                         \
    X(OPT_ACCEPT_NEW_HOST_KEYS, FOR_SAFETY, "accept-new-host-keys", NULL, false,                                                            \
        "accept SSH host keys that are not known yet; they are kept in the state file only")                                                \
    X(OPT_ACCEPT_WEAKER_ACCESS, FOR_SAFETY, "accept-weaker-access", "db:1", true,                                                           \
        "recover this database without the TLS or client certificates that it had; may be repeated")                                        \
    X(OPT_INSECURE, FOR_SAFETY, "insecure", NULL, false,                                                                                    \
        "send logins of --source and LOCATION over connections without TLS too")                                                            \
    X(OPT_YES, FOR_SAFETY, "yes", NULL, false, "do not ask")                                                                                \
    X(OPT_UNTIL, FOR_RUN, "until", "STAGE", false,                                                                                          \
        "stop after this stage: prepare, transfer, load or open")                                                                           \
    X(OPT_REPLAN_LOST, FOR_RUN, "replan-lost", NULL, false,                                                                                 \
        "move the shards of unreachable hosts to other hosts")                                                                              \
    X(OPT_PATIENCE, FOR_RUN, "patience", "TIME", false,                                                                                     \
        "give up a host that is unreachable for TIME (60s)")                                                                                \
    X(OPT_LIMIT_RATE, FOR_RUN, "limit-rate", "BYTES", false,                                                                                \
        "read at most BYTES a second, all transfers together (\"50M\")")                                                                    \
    X(OPT_FETCHES, FOR_RUN, "fetches", "N", false,                                                                                          \
        "fetch at most N files at a time, all hosts together (256)")                                                                        \
    X(OPT_FULL_SYNC, FOR_RUN, "full-sync", NULL, false,                                                                                     \
        "copy the data from primaries to replicas; without it, both load the same file")                                                    \
    X(OPT_PROVE_FAILOVER, FOR_RUN, "prove-failover", NULL, false,                                                                           \
        "before a database is opened, let its Sentinels fail over to a replica and back")                                                   \
    X(OPT_FAST_LOAD, FOR_RUN, "fast-load", NULL, false,                                                                                     \
        "load with huge pages on hosts where that proves faster; until their next restart, servers then need more time and memory to fork") \
    X(OPT_LOAD_WHILE_LANDING, FOR_RUN, "load-while-landing", "WHEN", false,                                                                 \
        "load files while they download: auto (uncompressed files over a network), always or never")                                        \
    X(OPT_SLOTS, FOR_FILES, "slots", "SLOTS=FILE", true,                                                                                    \
        "write the keys of these slots to FILE (\"0-8191=a.rdb\"); may be repeated")                                                        \
    X(OPT_SHARDS, FOR_FILES, "shards", "N", false,                                                                                          \
        "split into N equal parts, in the folder of --out")                                                                                 \
    X(OPT_TAKE, FOR_FILES, "take", "SLOTS=FILE", true,                                                                                      \
        "of this input, use only the keys of these slots; may be repeated")                                                                 \
    X(OPT_STAMP, FOR_FILES, "stamp", NULL, false,                                                                                           \
        "give outputs a repl-id made of their data, so replicas can start from them")                                                       \
    X(OPT_DIGEST, FOR_FILES, "digest", NULL, false,                                                                                         \
        "compute the SHA-256 of each file, unpacked; this takes longer than all other checks")                                              \
    X(OPT_OUT, FOR_OUTPUT, "out", "OUT", false,                                                                                             \
        "join: the file to write; split --shards: the folder")                                                                              \
    X(OPT_PLAN_OUT, FOR_OUTPUT, "out", "FILE", false,                                                                                       \
        "write the plan to FILE, for recover --plan")                                                                                       \
    X(OPT_SVG, FOR_OUTPUT, "svg", "OUT", false, "draw the layout")                                                                          \
    X(OPT_HTML, FOR_OUTPUT, "html", "OUT", false, "write one self-contained page")                                                          \
    X(OPT_FORCE, FOR_OUTPUT, "force", NULL, false, "replace an output file that exists")                                                    \
    X(OPT_JSON, FOR_OUTPUT, "json", NULL, false, "print JSON")                                                                              \
    X(OPT_VERBOSE, FOR_OUTPUT, "verbose", NULL, false, "print each step on standard error")                                                 \
    X(OPT_HELP, FOR_OUTPUT, "help", NULL, false, "print this help")

/* The headings for options in the help of a command. */
#define CLI_GROUPS(X)                                                                              \
    X(FOR_WHAT, "What to recover")                                                                 \
    X(FOR_LOGIN, "Login")                                                                          \
    X(FOR_LAYOUT, "The plan")                                                                      \
    X(FOR_SAFETY, "Safety")                                                                        \
    X(FOR_RUN, "The run")                                                                          \
    X(FOR_FILES, "Files")                                                                          \
    X(FOR_OUTPUT, "Output")

#define CLI_ENUM(id, ...) id,
enum option { CLI_OPTIONS(CLI_ENUM) OPT_COUNT };
enum option_group { CLI_GROUPS(CLI_ENUM) GROUP_COUNT };
#undef CLI_ENUM

struct arguments {
    const char **words; /* arguments that are not options; NULL-ended */
    size_t word_count;
    bool given[OPT_COUNT];
    const char **values[OPT_COUNT]; /* NULL-ended; NULL: not given */
};

struct command {
    const char *name;
    const char *words; /* for the usage line: "CCS --hosts HOSTS", "FILE|LOCATION…"; may be "" */
    const char *summary; /* one line, no full stop */
    const char *help;    /* a paragraph with more about it, or NULL */
    size_t min_words, max_words;
    const enum option *options; /* OPTIONS(…) */
    bool hidden;                /* not in the list of commands */
    /* The exit status, or -1 with err set. */
    int (*run)(const struct arguments *args, struct err *err);
};

/* A list of options, ended by OPT_COUNT. */
#define OPTIONS(...) ((const enum option[]){__VA_ARGS__, OPT_COUNT})
bool options_have(const enum option *list, enum option option);

/* Partial success. All other statuses belong to errors (recluster/err.h). */
enum { EXIT_PARTLY = 3 };
/* The servers to be checked could not be asked. */
enum { EXIT_NOT_ASKED = 6 };

extern const struct command command_inspect, command_plan, command_recover, command_status,
    command_report, command_verify, command_abort, command_agent, command_rdb, command_capture,
    command_backup, command_backups, command_expire;

/* Parses the arguments after the command's name. Free with arguments_release(). */
int arguments_parse(const struct command *command, int argc, char **argv, struct arguments *ret,
    struct err *err) MUST_CHECK;
void arguments_release(struct arguments *args);
const char *argument(const struct arguments *args, enum option option); /* the last one, or NULL */

const char *option_name(enum option option); /* without the dashes */

/* --limit-rate, bytes a second; 0: not given. */
int argument_rate(const struct arguments *args, int64_t *ret, struct err *err) MUST_CHECK;

/*
 * Adds the arguments and those of the options `which` (OPTIONS(…)) that were given, for a shell: "
 * ccs.rdb --hosts hosts.json". A location with a password or a signature is replaced by the example
 * of the help; a file name that begins with '-' becomes "./-…".
 */
void arguments_text(const struct arguments *args, const enum option *which, struct buf *out);

void command_usage(const struct command *command, struct buf *out);
void command_help(const struct command *command, struct buf *out);

/* The whole program: table is NULL-ended. Returns the exit status. */
int cli_main(const struct command *const *table, int argc, char **argv);

/* print.c */
bool print_colour(int fd); /* a terminal, and NO_COLOR is not set */
int print_text(const struct buf *text, struct err *err) MUST_CHECK;
int print_json(const json_t *document, struct err *err) MUST_CHECK; /* indented */
/* Prints the result of a command: as JSON with --json, else as `text` formats it. */
int print_result(const struct arguments *args, const json_t *document,
    void (*text)(const json_t *document, bool colour, struct buf *out), struct err *err) MUST_CHECK;
int print_json_line(const json_t *document, struct err *err) MUST_CHECK; /* one line, flushed */
void print_error(const struct err *err);
/* Makes text of files and peers safe for a terminal: control characters become '?'. */
void print_plain(FILE *out, const char *text);

/* Asks on the terminal; ERR_CHECK if there is none, or if the answer is not "yes". */
int ask_yes(const char *question, struct err *err) MUST_CHECK;

/*
 * outputs.c: checks options that name a file to write, before anything is done. An output may not
 * be an input (by any of its names, or in a folder that is read), nor an existing file, unless
 * --force is given. ERR_CHECK. output_write() checks again.
 */
int outputs_check(const struct arguments *args, struct err *err) MUST_CHECK;
int output_write(const struct arguments *args, const char *path, const struct buf *text,
    struct err *err) MUST_CHECK;

/* location.c: the location of a path or URL on the command line; a new reference. */
json_t *location_of_word(const struct arguments *args, const char *text);
/* Opens the store of a file that is named by its path or URL. Close it with store_close(). */
struct store;
struct store *open_file_location(const struct arguments *args, const char *word,
    const char **ret_name, struct err *err) MUST_CHECK;

/* request.c: options that `plan` and `recover` share. */
struct survey_request;
struct request_options {
    struct survey_source *sources;
    char **copies;
    size_t count;
    json_t *options, *plan, *folders;
    struct buf ccs; /* made from folders, or the settings for a nodes.json */
};
/* All options that it reads; and those that `recover` takes from the command of a plan. */
#define RECOVER_OPTIONS                                                                            \
    OPT_HOSTS, OPT_KEY, OPT_FROM_FOLDERS, OPT_SETTINGS, OPT_DATABASE, OPT_SOURCE, OPT_AT,          \
        OPT_OLD_CLUSTER_IS_DEAD, OPT_ACCEPT_NEW_HOST_KEYS, OPT_INSECURE, OPT_ACCEPT_WEAKER_ACCESS, \
        OPT_WITHOUT, OPT_NO_REPLICAS, OPT_PRIORITY, OPT_ONLY_CONFIGURATION,                        \
        OPT_ALLOW_MISSING_SLOTS, OPT_PLAN_SHARDS, OPT_RTO, OPT_FENCE, OPT_RESORT,                  \
        OPT_PROVE_FAILOVER
#define REQUEST_OPTIONS RECOVER_OPTIONS, OPT_MEASURE
int request_from_arguments(const struct arguments *args, struct survey_request *ret,
    struct request_options *ret_owned, struct err *err) MUST_CHECK;
void request_options_release(struct request_options *owned);
json_t *read_plan(const char *path, struct err *err); /* as --out wrote it */

/* live_request.c: the cluster that a command asks, from ADDRESSes, options and hosts files. */
struct live_request;
/* The options that it reads. */
#define LIVE_OPTIONS                                                                               \
    OPT_HOSTS, OPT_USER, OPT_PASSWORD, OPT_SENTINEL_USER, OPT_SENTINEL_PASSWORD, OPT_TLS,          \
        OPT_TLS_CA, OPT_TLS_CERT, OPT_TLS_KEY, OPT_TLS_ANY_NAME
struct hosts;
/* The hosts files of --hosts; NULL: none given. */
int hosts_of_arguments(
    const struct arguments *args, struct hosts **ret, struct err *err) MUST_CHECK;

int live_request_new(
    const struct arguments *args, struct live_request **ret, struct err *err) MUST_CHECK;
void live_request_free(struct live_request *r); /* may be NULL */
struct live_params;
const struct live_params *live_request_params(const struct live_request *r);
const char *const *live_request_addresses(const struct live_request *r); /* NULL-ended */
const char *live_request_name(const struct live_request *r); /* of the cluster; NULL: not given */
struct tls_params;
const struct tls_params *live_request_tls(const struct live_request *r); /* NULL: no TLS */
const struct hosts *live_request_hosts(const struct live_request *r);    /* NULL: none given */
const struct ccs *live_request_ccs(
    const struct live_request *r); /* given as the addresses; or NULL */
/* backup_history of that file: how many sets stay; 0: not known. */
struct ccs_database;
int64_t live_request_history(const struct live_request *r, const struct ccs_database *db);

#endif
