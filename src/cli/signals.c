#include "signals.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const int caught[] = {SIGINT, SIGTERM, SIGHUP};

static int pipe_fds[2] = {-1, -1};
static volatile sig_atomic_t came;

static void end_with_message(int number)
{
    static const char text[] = "\nrecluster: interrupted; nothing was changed\n";

    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    _exit(128 + number);
}

static void tell(int number)
{
    const char byte = (char)number;

    came = number;
    (void)!write(pipe_fds[1], &byte, 1);
}

/* A signal that the caller ignores, as nohup(1) does with SIGHUP, stays ignored. */
static void set_handler(void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags}, old;

    for (size_t i = 0; i < ARRAY_SIZE(caught); i++)
        if (sigaction(caught[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(caught[i], &action, NULL);
}

void signals_end_at_once(void)
{
    set_handler(end_with_message, 0);
}

int signals_catch(int *ret_fd, struct err *err)
{
    if (pipe_fds[0] < 0 && pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return err_sys(err, ERR_IO, "cannot make a pipe");
    set_handler(tell, (int)SA_RESETHAND);
    *ret_fd = pipe_fds[0];
    return 0;
}

int signals_exit_status(void)
{
    return came ? 128 + came : 0;
}
