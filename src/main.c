#include <sys/prctl.h>
#include <sys/resource.h>

#include "cli/command.h"

/*
 * A core dump would contain the passwords of all databases. Other processes of our user may not
 * read this one's memory either, only root's may; this does not hold for the programs that it
 * starts.
 */
static void leave_no_core(void)
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
#ifndef __SANITIZE_ADDRESS__ /* its search for leaks is a debugger's */
#if !defined(__has_feature)
    prctl(PR_SET_DUMPABLE, 0);
#elif !__has_feature(address_sanitizer)
    prctl(PR_SET_DUMPABLE, 0);
#endif
#endif
}

int main(int argc, char **argv)
{
    static const struct command *const commands[] = {&command_inspect, &command_plan,
        &command_recover, &command_status, &command_report, &command_verify, &command_rdb,
        &command_abort, &command_capture, &command_backup, &command_backups, &command_expire,
        &command_agent, NULL};

    leave_no_core();
    return cli_main(commands, argc, argv);
}
