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

/* The end of a word; a selector in parentheses is one word. */
static size_t word_length(const char *p)
{
    size_t len = *p == '(' ? strcspn(p, ")") : strcspn(p, " ");
    return *p == '(' && p[len] ? len + 1 : len;
}

static const char *sorted(struct arena *arena, const char *line);

/* "(~a +get +set)" with its rules in one order. */
static const char *sorted_word(struct arena *arena, const char *word, size_t len)
{
    if (*word != '(' || len < 2)
        return arena_memdup(arena, word, len);
    const char *inside = arena_memdup(arena, word + 1, len - 2);
    return arena_printf(arena, "(%s)", sorted(arena, inside));
}

static const char *sorted(struct arena *arena, const char *line)
{
    const char **words = NULL;
    size_t count = 0, alloc = 0;
    struct buf text = BUF_INIT;

    for (const char *p = line + strspn(line, " "); *p; p += strspn(p, " ")) {
        size_t len = word_length(p);
        GROW(words, count, alloc);
        words[count++] = sorted_word(arena, p, len);
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
    return sorted(arena, line);
}
