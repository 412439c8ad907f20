#ifndef RECLUSTER_REPORT_NEXT_COMMAND_H
#define RECLUSTER_REPORT_NEXT_COMMAND_H

/* The command that continues a recovery, ready for a shell. */

/* NEXT_REPLAN: recover, and place the shards of lost hosts on others. */
enum next_step { NEXT_RECOVER, NEXT_REPLAN, NEXT_STATUS, NEXT_REPORT };

/* The caller frees it. */
char *next_command(enum next_step step, const char *state_path);

#endif
