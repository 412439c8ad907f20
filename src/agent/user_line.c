#include "user_line.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/mem.h"

enum { WORDS_MAX = 4096 };

/* A selector in parentheses is one word. Keys and channels in ACL LIST have no spaces. */
static size_t word_length(const char *p)
{
    size_t len = *p == '(' ? strcspn(p, ")") : strcspn(p, " ");
    return *p == '(' && p[len] ? len + 1 : len;
}

bool user_line_parse(const char *line, struct user_line *ret)
{
    char *p = xstrdup(line);
    size_t alloc = 16;

    *ret = (struct user_line){.text = p, .argv = xcalloc(alloc, sizeof(*ret->argv))};
    ret->argv[ret->count++] = "ACL";
    ret->argv[ret->count++] = "SETUSER";
    for (p += strspn(p, " "); *p && ret->count < WORDS_MAX; p += strspn(p, " ")) {
        size_t len = word_length(p);
        if (ret->count + 5 >= alloc) {
            alloc *= 2;
            ret->argv = xreallocarray(ret->argv, alloc, sizeof(*ret->argv));
        }
        bool last = !p[len];
        p[len] = '\0';
        ret->argv[ret->count++] = p;
        p += len + !last;
        if (ret->count == 3 && strcmp(ret->argv[2], "user") == 0)
            ret->count = 2; /* the word "user" itself */
    }
    ret->argv[ret->count] = NULL;
    ret->name = ret->count > 3 ? ret->argv[2] : NULL;
    if (!*p && ret->name && strncmp(line, "user ", 5) == 0)
        return true;
    user_line_release(ret);
    return false;
}

void user_line_release(struct user_line *u)
{
    free(u->text);
    free(u->argv);
    *u = (struct user_line){.text = NULL};
}
