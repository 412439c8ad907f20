#include <stdio.h>
#include <stdlib.h>

#include "command.h"
#include "recluster/recover.h"

static void add_undone(struct buf *out, const struct recover_undone *undone)
{
    size_t removed = undone->removed + undone->leftovers;

    if (undone->kept)
        buf_addf(out,
            "Not everything that the recovery made is removed: %zu shard%s, but these hosts still "
            "hold parts of it:\n%s\nFix that, then abort again.\n",
            removed, removed == 1 ? " is" : "s are", undone->kept);
    else if (removed > 0)
        buf_adds(out, "What the recovery made is removed from the hosts.\n");
    else
        buf_adds(out, "Nothing was removed.\n");
    if (undone->open)
        buf_addf(out,
            "%zu database%s open to clients and stay%s as they are.\nTo remove databases that clients "
            "use, with their data: abort --open-databases NAME, with the cluster's name.\n",
            undone->open, undone->open == 1 ? " is" : "s are", undone->open == 1 ? "s" : "");
    if (undone->away)
        buf_addf(out,
            "These lost hosts still hold parts of the recovery: %s. When they are back, abort again.\n",
            undone->away);
}

/* The exit status; -1 with err. */
static int undo(struct state *st, const char *name, struct err *err)
{
    CLEANUP(buf_release) struct buf out = BUF_INIT;
    struct recover_undone undone;

    if (recover_abort(st, name, &undone, err) < 0)
        return -1;
    add_undone(&out, &undone);
    bool stays =
        undone.kept || undone.away || (undone.open > 0 && undone.removed + undone.leftovers == 0);
    free(undone.away);
    free(undone.kept);
    if (print_text(&out, err) < 0)
        return -1;
    return stays ? EXIT_PARTLY : 0;
}

static int run(const struct arguments *args, struct err *err)
{
    const char *path = argument(args, OPT_STATE);
    const char *name = argument(args, OPT_OPEN_DATABASES);
    struct state *st;

    if (!path)
        return err_set(err, ERR_USAGE, "'abort' needs --state FILE");
    if (state_open(path, STATE_EXISTING, &st, err) < 0)
        return -1;
    int rc = 0;
    if (!args->given[OPT_YES])
        rc = ask_yes(name ? "Stop this recovery and remove all that it made on the hosts, with the "
                            "databases that clients use and their data?"
                          : "Stop this recovery and remove what it made on the hosts?",
            err);
    if (rc == 0)
        rc = undo(st, name, err);
    state_close(st);
    return rc;
}

const struct command command_abort = {
    .name = "abort",
    .words = "--state FILE",
    .summary = "stop a recovery and remove what it made on the hosts",
    .help =
        "Databases that are open to clients stay as they are, unless --open-databases names the "
        "cluster, as at the end of a rehearsal. Nothing that the recovery did not make is removed. "
        "Exit status 3: something could not be removed; the output names it.",
    .options = OPTIONS(OPT_STATE, OPT_OPEN_DATABASES, OPT_YES, OPT_HELP),
    .run = run,
};
