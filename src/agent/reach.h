#ifndef AGENT_REACH_H
#define AGENT_REACH_H

/*
 * Whether other hosts can be reached from here at the ports of future servers. Nothing listens
 * there yet: a refused connection shows that the way is open, silence shows that something drops
 * packets.
 */

#include <jansson.h>

/*
 * `targets`: [{"addr", "port"}]. Returns those that give no answer within about a second, tried
 * from the local address `from`; the caller's. Those that cannot be tried are left out.
 */
json_t *reach_silent(const json_t *targets, const char *from);

#endif
