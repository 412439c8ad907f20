#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

/*
 * What a person sees on standard error while a recovery runs: on a terminal one line that is drawn
 * anew, elsewhere a line per thing worth telling.
 */

#include <jansson.h>
#include <stdbool.h>

struct progress;
struct recover_progress;

struct progress *progress_new(bool verbose);
void progress_free(struct progress *p); /* leaves the terminal at the start of an empty line */
void progress_show(void *arg, const struct recover_progress *now);
void progress_event(void *arg, const json_t *event);

/* Before the recovery, while hosts and locations are asked: a line that stays; what is being done. */
void progress_tell(void *arg, const char *line);
void progress_doing(void *arg, const char *line);

#endif
