#ifndef RECLUSTER_REPORT_NEXT_COMMAND_H
#define RECLUSTER_REPORT_NEXT_COMMAND_H

/* The command that carries a recovery on, ready for a shell. */

enum next_step { NEXT_RECOVER, NEXT_STATUS, NEXT_REPORT };

/* The caller frees it. */
char *next_command(enum next_step step, const char *state_path);

#endif
