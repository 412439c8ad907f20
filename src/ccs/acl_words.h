#ifndef CCS_ACL_WORDS_H
#define CCS_ACL_WORDS_H

/* Words of ACL rules that come from a CCS file, and are therefore not trusted. */

#include <stdbool.h>

#include "recluster/mem.h"

/* A user's name that servers take: without spaces and control characters. */
bool acl_is_name(const char *name);

/* A SHA-256 hash: 64 hexadecimal digits, perhaps after '#'. *ret: in lower case, without '#'. */
bool acl_is_hash(struct arena *arena, const char *text, const char **ret);

/*
 * Rules such as "+@read ~cache:* (%R~x +get)", with single spaces between them. NULL: one of them is
 * none, or says more than what a user may do, such as "nopass". *ret_channels: some are about
 * channels.
 */
const char *acl_rules(struct arena *arena, const char *text, bool *ret_channels);

#endif
