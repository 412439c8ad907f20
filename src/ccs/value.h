#ifndef CCS_VALUE_H
#define CCS_VALUE_H

/*
 * Reads the values of a CCS file, which are all strings. Each function accepts the known forms and
 * those that a newer or older product may use. For other text it returns false and sets nothing.
 * Allocates only in the given arena.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recluster/ccs.h"

/* enabled/disabled, yes/no, true/false, on/off, 1/0; any case. */
bool value_bool(const char *text, bool *ret);

/* A whole number from min to max. */
bool value_int(const char *text, int64_t min, int64_t max, int64_t *ret);

/* "1073741824", "1gb", "512 MB". */
bool value_bytes(const char *text, int64_t *ret);

/*
 * A list: JSON, or items joined by commas; the result ends with NULL, *ret_count may be NULL.
 * VALUE_IDS: also separated by spaces, and empty items are dropped. VALUE_PARALLEL: empty items
 * count, as in ",WORKERS 6,,", four items that belong to four of another list. An object in a JSON
 * list counts as its "uid", "name", "module_name" or "regex".
 */
#define VALUE_BETWEEN ", \t\r\n;[]\"'" /* values between those of VALUE_IDS */
enum value_list { VALUE_IDS, VALUE_PARALLEL };
const char *const *value_list(
    struct arena *arena, const char *text, enum value_list form, size_t *ret_count);

/* Free text with lengths: three hex digits, that many characters, repeated. */
bool value_prefixed_list(
    struct arena *arena, const char *text, const char *const **ret, size_t *ret_count);

/* "0-5460,6000-6010": open slots. CCS_SLOTS_LEGACY: "1-2048" of 4096. */
bool value_slots(const char *text, enum ccs_slots_policy policy, struct slots *ret);

/* "master", "primary" / "slave", "replica". */
bool value_role(const char *text, bool *ret_primary);

/* The word of the servers; also "volatile_lru", "NoEviction", "no-eviction". NULL: another word. */
const char *value_eviction_policy(const char *text);

/* "aof", "snapshot", "rdb", "disabled", "none", "appendfsync-every-sec", …; see ccs_database. */
bool value_persistence(const char *text, enum ccs_persistence *ret);

/* "appendfsync-always", "always" / "appendfsync-every-sec", "everysec", … */
bool value_fsync(const char *text, bool *ret_always);

/*
 * Save points: "900 1", "900 1 300 10", "900/1,300/10", [{"secs":900,"writes":1}], [[900,1]], ["900
 * 1"]. At least one; each with at least one second and one change.
 */
bool value_save_points(
    struct arena *arena, const char *text, struct ccs_save_point **ret, size_t *ret_count);

/*
 * A location as an object with "type" (a new reference): from a JSON object, or a path or URL. A
 * missing type is derived from the other keys. NULL: unreadable.
 */
json_t *value_location(const char *text);
bool value_location_complete(json_t *location);

#endif
