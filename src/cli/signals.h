#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

/*
 * SIGINT (Ctrl-C), SIGTERM and SIGHUP (the terminal is gone). A command that a signal ended exits
 * with 128 plus its number: 130, 143, 129.
 */

#include "recluster/err.h"

/* While nothing has been changed: a signal ends the process at once, with a message. */
void signals_end_at_once(void);

/* From now on the first signal makes the descriptor readable; a second one ends the process. */
int signals_catch(int *ret_fd, struct err *err) MUST_CHECK;

/* The exit status of a command that a signal ended; 0: none came. */
int signals_exit_status(void);

#endif
