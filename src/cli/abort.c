#include <stdio.h>
#include <stdlib.h>

#include "command.h"
#include "recluster/recover.h"

/* The exit status; -1 with err. */
static int undo(struct state *st, struct err *err)
{
    CLEANUP(buf_release) struct buf out = BUF_INIT;
    struct recover_undone undone;

    if (recover_abort(st, &undone, err) < 0)
        return -1;
    if (undone.kept)
        buf_addf(&out,
            "Not all of what the recovery made is removed: %zu shard%s, and on these hosts something "
            "stays:\n%s\nWhen that is settled, abort once more.\n",
            undone.removed, undone.removed == 1 ? " is" : "s are", undone.kept);
    else
        buf_adds(&out, "What the recovery made is removed from the hosts.\n");
    if (undone.open)
        buf_addf(&out, "%zu database%s open to clients and stay%s as they are.\n", undone.open,
            undone.open == 1 ? " is" : "s are", undone.open == 1 ? "s" : "");
    if (undone.away)
        buf_addf(&out,
            "Something is left on hosts that were lost: %s. When they are back, abort once more.\n",
            undone.away);
    bool stays = undone.kept || undone.away;
    free(undone.away);
    free(undone.kept);
    if (print_text(&out, err) < 0)
        return -1;
    return stays ? EXIT_PARTLY : 0;
}

static int run(const struct arguments *args, struct err *err)
{
    const char *path = argument(args, OPT_STATE);
    struct state *st;

    if (!path)
        return err_set(err, ERR_USAGE, "'abort' needs --state FILE");
    if (state_open(path, STATE_EXISTING, &st, err) < 0)
        return -1;
    int rc = 0;
    if (!args->given[OPT_YES])
        rc = ask_yes("Stop this recovery and remove what it made on the hosts?", err);
    if (rc == 0)
        rc = undo(st, err);
    state_close(st);
    return rc;
}

const struct command command_abort = {
    .name = "abort",
    .words = "",
    .summary = "stop a recovery and remove what it made on the hosts",
    .help =
        "Databases that clients were let into stay as they are. Nothing that the recovery did not "
        "make is removed. Status 3: something of it stays, and is named.",
    .options = OPTION_BIT(OPT_STATE) | OPTION_BIT(OPT_YES) | OPTION_BIT(OPT_HELP),
    .run = run,
};
