#ifndef RECLUSTER_REPORT_NEXT_COMMAND_H
#define RECLUSTER_REPORT_NEXT_COMMAND_H

/* The command that carries a recovery on, ready for a shell. */

/* NEXT_REPLAN: recover, with other hosts for those that are lost. */
enum next_step { NEXT_RECOVER, NEXT_REPLAN, NEXT_STATUS, NEXT_REPORT };

/* The caller frees it. */
char *next_command(enum next_step step, const char *state_path);

#endif
