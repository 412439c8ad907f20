#ifndef AGENT_USER_LINE_H
#define AGENT_USER_LINE_H

/*
 * A line of ACL LIST, "user app on #… ~app:* (%R~x +get)", as the command that makes the user.
 *
 *     struct user_line u;
 *     if (user_line_parse(line, &u))
 *         redis_command_argv(r, NULL, u.argv, NULL, err)    // ACL SETUSER app on #… …
 *     user_line_release(&u);
 *
 * The user must be new: "reset" would leave a flag (sanitize-payload) that a new user does not have.
 */

#include <stdbool.h>
#include <stddef.h>

struct user_line {
    char *text;        /* owns the words */
    const char **argv; /* NULL-ended; room for three more words */
    size_t count;
    const char *name;
};

/*
 * The line with rules (" -config -flushall") behind the user's own and behind those of each of its
 * selectors, where they count last. The caller frees it; NULL: it is not such a line.
 */
char *user_line_with(const char *line, const char *rules);

/* false: it is not such a line, its user has no name, or it has too many words. */
bool user_line_parse(const char *line, struct user_line *ret);
void user_line_release(struct user_line *u);

#endif
