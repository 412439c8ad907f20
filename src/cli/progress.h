#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

/* Progress on standard error: on a terminal a line that is redrawn, elsewhere a line per event. */

#include <jansson.h>
#include <stdbool.h>

struct progress;
struct recover_progress;

struct progress *progress_new(bool verbose);
void progress_free(struct progress *p); /* leaves the cursor on an empty line */
void progress_show(void *arg, const struct recover_progress *now);
void progress_event(void *arg, const json_t *event);

/* Before the recovery: a permanent line; the current action. */
void progress_tell(void *arg, const char *line);
void progress_doing(void *arg, const char *line);

#endif
