#include <string.h>
#include <unistd.h>

#include "command.h"
#include "recluster/agent.h"
#include "recluster/program.h"

static int run(const struct arguments *args, struct err *err)
{
    if (args->word_count == 0)
        return agent_serve(STDIN_FILENO, STDOUT_FILENO, err);
    if (args->word_count == 3 && strcmp(args->words[0], "install") == 0)
        return program_install(args->words[1], args->words[2], err);
    return err_set(err, ERR_USAGE, "'agent' takes no argument, or: install FROM TO");
}

const struct command command_agent = {
    .name = "agent",
    .words = "[install FROM TO]",
    .max_words = 3,
    .summary = "serve one host on standard input and output (internal)",
    .options = OPTIONS(OPT_HELP),
    .hidden = true,
    .run = run,
};
