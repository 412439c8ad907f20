/*
 * Lines of ACL LIST. Servers print the rules for single commands in the order of a hash table, which
 * differs between servers with equal users, and after a restart.
 */

#include <stdlib.h>
#include <string.h>

#include "recluster/buf.h"
#include "recluster/live.h"

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A selector in parentheses is one word: it ends with the first ")" before a space. */
static size_t word_length(const char *p)
{
    size_t len = strcspn(p, " ");

    while (*p == '(' && p[len] && p[len - 1] != ')')
        len += 1 + strcspn(p + len + 1, " ");
    return len;
}

enum depth { IN_LINE, IN_SELECTOR };

/* The words in one order, and those of each selector: there are no selectors in selectors. */
static const char *sorted(struct arena *arena, const char *line, enum depth depth)
{
    const char **words = NULL;
    size_t count = 0, alloc = 0;
    struct buf text = BUF_INIT;

    for (const char *p = line + strspn(line, " "); *p; p += strspn(p, " ")) {
        size_t len = depth == IN_LINE ? word_length(p) : strcspn(p, " ");
        const char *word = arena_memdup(arena, p, len);
        GROW(words, count, alloc);
        if (depth == IN_LINE && *word == '(' && len > 2)
            word = arena_printf(
                arena, "(%s)", sorted(arena, arena_memdup(arena, p + 1, len - 2), IN_SELECTOR));
        words[count++] = word;
        p += len;
    }
    if (count)
        qsort(words, count, sizeof(*words), by_text);
    for (size_t i = 0; i < count; i++)
        buf_addf(&text, "%s%s", i ? " " : "", words[i]);
    const char *ret = arena_strdup(arena, text.data);
    buf_release(&text);
    free(words);
    return ret;
}

const char *live_user_rules(struct arena *arena, const char *line)
{
    return sorted(arena, line, IN_LINE);
}
