#include "user_line.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/buf.h"
#include "recluster/mem.h"

enum { WORDS_MAX = 4096 };

/* A selector is one word: it ends, as for the server, with the first ")" before a space. */
static size_t word_length(const char *p)
{
    size_t len = strcspn(p, " ");

    while (*p == '(' && p[len] && p[len - 1] != ')')
        len += 1 + strcspn(p + len + 1, " ");
    return len;
}

static void add_word(struct user_line *u, size_t *alloc, char *word)
{
    if (u->count + 5 >= *alloc) {
        *alloc *= 2;
        u->argv = xreallocarray(u->argv, *alloc, sizeof(*u->argv));
    }
    u->argv[u->count++] = word;
}

bool user_line_parse(const char *line, struct user_line *ret)
{
    static const char begin[] = "user ";
    size_t alloc = 16;

    *ret = (struct user_line){.text = xstrdup(line), .argv = xcalloc(alloc, sizeof(*ret->argv))};
    ret->argv[ret->count++] = "ACL";
    ret->argv[ret->count++] = "SETUSER";
    bool good = strncmp(line, begin, strlen(begin)) == 0;
    char *p = ret->text + (good ? strlen(begin) : 0);
    good = good && *p && *p != ' ';
    while (good && *p && ret->count < WORDS_MAX) {
        size_t len = ret->count == 2 ? strcspn(p, " ") : word_length(p); /* the name, a rule */
        bool last = !p[len];
        p[len] = '\0';
        add_word(ret, &alloc, p);
        p += len + !last;
        p += strspn(p, " ");
    }
    ret->argv[ret->count] = NULL;
    ret->name = ret->count > 2 ? ret->argv[2] : NULL;
    if (good && !*p)
        return true;
    user_line_release(ret);
    return false;
}

char *user_line_with(const char *line, const char *rules)
{
    struct buf out = BUF_INIT;
    struct user_line u;

    if (!user_line_parse(line, &u))
        return NULL;
    buf_addf(&out, "user %s", u.name);
    for (size_t i = 3; i < u.count; i++) {
        const char *word = u.argv[i];
        size_t len = strlen(word);
        bool selector = *word == '(', closed = selector && word[len - 1] == ')';
        buf_addf(
            &out, " %.*s%s%s", (int)(len - closed), word, selector ? rules : "", closed ? ")" : "");
    }
    buf_adds(&out, rules);
    user_line_release(&u);
    return buf_take(&out);
}

void user_line_release(struct user_line *u)
{
    free(u->text);
    free(u->argv);
    *u = (struct user_line){.text = NULL};
}
