#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "recluster/file.h"
#include "recluster/human.h"
#include "recluster/sealed.h"
#include "recluster/store.h"
#include "signals.h"

enum { KEY_BYTES_MAX = 64 << 10 };

static void add_general_help(const struct command *const *table, struct buf *out)
{
    buf_adds(out, "usage: recluster COMMAND [ARGUMENT...]\n\n"
                  "Rebuilds a Redis or Valkey cluster that is beyond saving, from its CCS file\n"
                  "and the backup files of its shards.\n\n"
                  "Commands:\n");
    for (; *table; table++)
        if (!(*table)->hidden)
            buf_addf(out, "  %-9s %s\n", (*table)->name, (*table)->summary);
    buf_adds(out,
        "\nStart with:  recluster inspect CCS\n"
        "Then:        recluster plan CCS --hosts hosts.json\n"
        "Before:      recluster capture ADDRESS --to LOCATION, for a cluster without CCS\n"
        "             recluster backup ADDRESS --to LOCATION, for a set of backups\n"
        "More:        recluster COMMAND --help, man recluster\n");
}

static const struct command *find_command(
    const struct command *const *table, const char *name, struct err *err)
{
    const char *names[32];
    size_t count = 0;

    for (; *table; table++) {
        if (strcmp((*table)->name, name) == 0)
            return *table;
        if (!(*table)->hidden && count + 1 < ARRAY_SIZE(names))
            names[count++] = (*table)->name;
    }
    names[count] = NULL;
    err_set(err, ERR_USAGE, "there is no command '%s'", name);
    const char *nearest = human_nearest(name, names);
    if (nearest)
        err_hint(err, "Did you mean '%s'?", nearest);
    else
        err_hint(err, "See: recluster --help");
    return NULL;
}

/* For all encrypted files that the command reads. */
static int use_key(const struct arguments *args, struct err *err)
{
    const char *path = argument(args, OPT_KEY);
    CLEANUP(buf_release) struct buf text = BUF_INIT;

    if (!path)
        return 0;
    if (strcmp(path, SEALED_BY_GPG) == 0) {
        store_resolve_with_key(path);
        return 0;
    }
    buf_reserve(&text, KEY_BYTES_MAX + 1); /* so that no copy remains */
    if (file_read(path, KEY_BYTES_MAX, &text, err) < 0)
        return err_wrap(err, "--key");
    int rc = sealed_check_key(path, text.data, text.len, err);
    if (rc == 0)
        store_resolve_with_key(text.data);
    explicit_bzero(text.data, text.len);
    return rc < 0 ? err_wrap(err, "--key") : 0;
}

static int run_command(const struct command *command, int argc, char **argv, struct err *err)
{
    CLEANUP(arguments_release) struct arguments args;
    CLEANUP(buf_release) struct buf help = BUF_INIT;

    if (arguments_parse(command, argc, argv, &args, err) < 0)
        return -1;
    if (!args.given[OPT_HELP])
        return use_key(&args, err) < 0 ? -1 : command->run(&args, err);
    command_help(command, &help);
    return print_text(&help, err);
}

int cli_main(const struct command *const *table, int argc, char **argv)
{
    struct err err = ERR_INIT;
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    const char *word = argc > 1 ? argv[1] : "--help";
    int status;

    signal(SIGPIPE, SIG_IGN);
#ifdef M_MXFAST
    /* glibc goes through its lists of small blocks at each larger free(): a plan of 20,000 shards would take an eighth longer. */
    mallopt(M_MXFAST, 0);
#endif
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0 || strcmp(word, "version") == 0) {
        buf_adds(&text, "recluster " RECLUSTER_VERSION "\n");
        status = print_text(&text, &err);
    } else if (strcmp(word, "help") == 0 && argc > 2) {
        const struct command *command = find_command(table, argv[2], &err);
        if (command)
            command_help(command, &text);
        status = command ? print_text(&text, &err) : -1;
    } else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 ||
               strcmp(word, "help") == 0) {
        add_general_help(table, &text);
        status = print_text(&text, &err);
        if (argc < 2)
            status = status < 0 ? status : err_code_exit_status(ERR_USAGE);
    } else {
        const struct command *command = find_command(table, word, &err);
        status = command ? run_command(command, argc - 2, argv + 2, &err) : -1;
    }
    if (status >= 0)
        return status;
    print_error(&err);
    return err.code == ERR_CANCELLED && signals_exit_status() ? signals_exit_status()
                                                              : err_code_exit_status(err.code);
}
