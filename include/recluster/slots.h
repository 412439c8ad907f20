#ifndef RECLUSTER_SLOTS_H
#define RECLUSTER_SLOTS_H

/*
 * Sets of hash slots of the cluster protocol (0..16383), and the slot of a key: CRC16/XMODEM of the
 * key, or of its hash tag, which is the text between the first '{' and the next '}' if not empty.
 *
 * As text a set is ranges joined by commas, both ends included: "0-5460,6000". The policy "legacy"
 * has slots 1..4096 (CRC16 mod 4096, plus 1). Legacy slot s is the same as the four open slots
 * (s-1) + 4096*k, k = 0..3. Sets always hold open slots.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recluster/buf.h"
#include "recluster/err.h"

enum { SLOT_COUNT = 16384, LEGACY_SLOT_COUNT = 4096 };

struct slots {
    uint64_t bits[SLOT_COUNT / 64];
};

static inline void slots_add(struct slots *s, unsigned slot)
{
    s->bits[slot / 64] |= UINT64_C(1) << slot % 64;
}

static inline bool slots_has(const struct slots *s, unsigned slot)
{
    return slot < SLOT_COUNT && (s->bits[slot / 64] >> slot % 64 & 1);
}

void slots_clear(struct slots *s);
void slots_fill(struct slots *s);                                     /* all 16384 */
void slots_add_range(struct slots *s, unsigned first, unsigned last); /* last < SLOT_COUNT */
unsigned slots_count(const struct slots *s);
bool slots_is_empty(const struct slots *s);
bool slots_equal(const struct slots *a, const struct slots *b);
bool slots_overlap(const struct slots *a, const struct slots *b);
unsigned slots_common(const struct slots *a, const struct slots *b); /* how many both have */
bool slots_contain(const struct slots *all, const struct slots *part);
void slots_union(struct slots *s, const struct slots *more);
void slots_intersect(struct slots *s, const struct slots *other);
void slots_subtract(struct slots *s, const struct slots *less);

/*
 * The next range at or after *from: sets *ret_first and *ret_last, and moves *from past it.
 *
 *     for (unsigned at = 0, a, b; slots_next_range(s, &at, &a, &b);)
 */
bool slots_next_range(
    const struct slots *s, unsigned *from, unsigned *ret_first, unsigned *ret_last);

/* Adds the ranges of the text to *s. ERR_USAGE if it is not ranges; "" adds nothing. */
int slots_parse(const char *text, struct slots *s, struct err *err) MUST_CHECK;
int slots_parse_legacy(const char *text, struct slots *s, struct err *err) MUST_CHECK;

void slots_format(const struct slots *s, struct buf *out); /* appends "0-5460,6000" */
json_t *slots_to_json(const struct slots *s);              /* [[0,5460],[6000,6000]] */
/* Adds the ranges to *s. A range of one slot may be written [slot], as redis-cli does. */
int slots_from_json(const json_t *ranges, struct slots *s, struct err *err) MUST_CHECK;

unsigned slot_of_key(const void *key, size_t len);

#endif
