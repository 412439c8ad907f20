#include <unistd.h>

#include "command.h"
#include "recluster/agent.h"

static int run(const struct arguments *args, struct err *err)
{
    (void)args;
    return agent_serve(STDIN_FILENO, STDOUT_FILENO, err);
}

const struct command command_agent = {
    .name = "agent",
    .words = "",
    .summary = "serve one host on standard input and output (internal)",
    .options = OPTION_BIT(OPT_HELP),
    .hidden = true,
    .run = run,
};
