#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

/*
 * SIGINT (Ctrl-C), SIGTERM and SIGHUP (the terminal is gone). A command that was ended by one exits
 * with 128 and its number: 130, 143, 129.
 */

#include "recluster/err.h"

/* While nothing is touched: the process ends at once and says so. */
void signals_end_at_once(void);

/*
 * From here on the first signal makes the descriptor readable, so that the work ends in good order;
 * a second one ends the process.
 */
int signals_catch(int *ret_fd, struct err *err) MUST_CHECK;

/* The exit status of a command that a signal ended; 0: none came. */
int signals_exit_status(void);

#endif
