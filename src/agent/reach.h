#ifndef AGENT_REACH_H
#define AGENT_REACH_H

/*
 * Whether other hosts can be reached from here at ports where servers are to listen. Nobody listens there
 * yet: a refusal shows that the way is open, silence that something on it drops what is sent.
 */

#include <jansson.h>

/*
 * `targets`: [{"addr", "port"}]. Those of them that give no answer within a second or so, from the local
 * address `from`; the caller's. What can't be tried at all is left out.
 */
json_t *reach_silent(const json_t *targets, const char *from);

#endif
