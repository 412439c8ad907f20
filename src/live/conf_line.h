#ifndef LIVE_CONF_LINE_H
#define LIVE_CONF_LINE_H

/*
 * A line of redis.conf: words, of which quoted ones have escapes, as sdssplitargs() of Redis reads
 * them.
 */

#include <stdbool.h>
#include <stddef.h>

#include "recluster/mem.h"

enum { CONF_LINE_WORDS_MAX = 64 };

struct conf_line {
    const char *words[CONF_LINE_WORDS_MAX]; /* the arena's; later ones are left out */
    size_t count;                           /* 0: empty, or a comment */
};

void conf_line_split(struct arena *arena, const char *text, struct conf_line *ret);

/* Its words from the one at `from` on, as one text. */
const char *conf_line_join(struct arena *arena, const struct conf_line *line, size_t from);

/* "maxmemory 5gb": a name, and behind it at least one word. `raw`: the text, from the name on. */
bool conf_line_is_setting(const char *raw, const struct conf_line *line);

/* Reads a word that begins at *p, and moves *p behind it. */
const char *conf_next_word(struct arena *arena, const char **p);

/* "200mb" as CONFIG GET shows it: k is 1,000, kb 1,024 (memtoull() of Redis). Else as it is. */
const char *conf_plain_number(struct arena *arena, const char *value);

#endif
