#include "cli/command.h"

int main(int argc, char **argv)
{
    static const struct command *const commands[] = {&command_inspect, &command_plan,
        &command_recover, &command_status, &command_report, &command_verify, &command_rdb,
        &command_abort, &command_agent, NULL};

    return cli_main(commands, argc, argv);
}
