#ifndef AGENT_DATA_RULES_H
#define AGENT_DATA_RULES_H

/*
 * What clients behind the vendor's proxy could do: of the commands in @admin and @dangerous, only
 * some. All servers since 6.0 know these.
 */

#include <stddef.h>

/* Adds the rules that limit a user with all rights; the words are static. Returns how many. */
size_t data_rules_all(const char **argv);
enum { DATA_RULES_MAX = 32 };

/*
 * A line of ACL LIST, of which the user keeps only what the proxy allowed: the same for each of its
 * selectors. Nothing is added to its rights. The caller frees it; NULL: it is not such a line.
 */
char *data_rules_limit(const char *line);

#endif
