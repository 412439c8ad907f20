/*
 * The program as the tests run it where they need more than a user can do:
 *
 *     RECLUSTER_TEST_KILL_AT=N    SIGKILL right after the Nth commit to the state file
 *     RECLUSTER_TEST_MEET=1       clusters are made by commands, never by nodes.conf files
 */

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/command.h"
#include "recluster/recover.h"
#include "recluster/state.h"

static long commits_left;

static void count_down(void)
{
    if (commits_left > 0 && --commits_left == 0)
        kill(getpid(), SIGKILL);
}

int main(int argc, char **argv)
{
    static const struct command *const commands[] = {&command_inspect, &command_plan,
        &command_recover, &command_status, &command_report, &command_verify, &command_rdb,
        &command_abort, &command_agent, NULL};
    const char *kill_at = getenv("RECLUSTER_TEST_KILL_AT");

    commits_left = kill_at ? atol(kill_at) : 0;
    recover_test_joins_by_command = getenv("RECLUSTER_TEST_MEET") != NULL;
    state_test_on_commit = count_down;
    return cli_main(commands, argc, argv);
}
