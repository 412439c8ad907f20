#include "unit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { RETRY_S = 300, RANDOM_PART = 10 };

/* A line of a unit; '%' and '$' mean something to systemd. */
static void add_escaped(struct buf *out, const char *text)
{
    for (const char *p = text; *p; p++) {
        if (*p == '%' || *p == '$')
            buf_addc(out, *p);
        buf_addc(out, *p);
    }
}

static void add_service(const struct unit *unit, const char *program, const char *folder,
    const char *command, struct buf *out)
{
    bool once = unit->every_s > 0;

    buf_addf(out,
        "[Unit]\n"
        "Description=recluster: %s\n"
        "After=network-online.target\n"
        "Wants=network-online.target\n\n"
        "[Service]\n",
        unit->description);
    buf_adds(out, once ? "Type=oneshot\nWorkingDirectory=" : "WorkingDirectory=");
    add_escaped(out, folder);
    buf_adds(out, "\nExecStart=");
    add_escaped(out, program);
    buf_addf(out, " %s", unit->words);
    add_escaped(out, command);
    if (once) /* it is tried again until one succeeds */
        buf_addf(out, "\nRestart=on-failure\nRestartSec=%d\n", RETRY_S);
    else
        buf_adds(out, "\nRestart=always\nRestartSec=10\nSuccessExitStatus=143\n");
    buf_addf(out,
        "StateDirectory=%s\n"
        "Environment=XDG_STATE_HOME=%%S/%s\n"
        "UMask=0077\n"
        "NoNewPrivileges=yes\n"
        "ProtectSystem=full\n"
        "PrivateTmp=yes\n",
        unit->name, unit->name);
    if (!once)
        buf_adds(out, "\n[Install]\nWantedBy=multi-user.target\n");
}

/* The offset is random, so that the clusters of a company do not all begin at the same moment. */
static void add_timer(const struct unit *unit, struct buf *out)
{
    buf_addf(out,
        "[Unit]\n"
        "Description=recluster: %s\n\n"
        "[Timer]\n"
        "OnBootSec=300\n"
        "OnUnitActiveSec=%" PRId64 "\n"
        "RandomizedDelaySec=%" PRId64 "\n\n"
        "[Install]\n"
        "WantedBy=timers.target\n",
        unit->description, unit->every_s, unit->every_s / RANDOM_PART);
}

int unit_print(const struct arguments *args, const struct unit *unit, struct err *err)
{
    CLEANUP(buf_release) struct buf command = BUF_INIT;
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    AUTO_FREE char *program = realpath("/proc/self/exe", NULL);
    AUTO_FREE char *folder = realpath(".", NULL);

    if (!program || !folder)
        return err_sys(err, ERR_IO, "cannot find this program and its folder");
    arguments_text(args, unit->options, &command);
    if (strchr(command.data, '\\') || strchr(command.data, '\n') || strchr(folder, '\n')) {
        err_set(err, ERR_USAGE, "a quote, a backslash or a line end in an argument");
        return err_hint(err, "systemd reads them in another way than a shell: use other names.");
    }
    if (unit->every_s)
        buf_addf(&text, "# %s.service\n", unit->name);
    add_service(unit, program, folder, command.data, &text);
    if (unit->every_s) {
        buf_addf(&text, "\n# %s.timer\n", unit->name);
        add_timer(unit, &text);
    }
    return print_text(&text, err);
}
