#include "data_rules.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "recluster/buf.h"
#include "user_line.h"

/* The commands that the proxy allows although they are dangerous, with their categories. */
static const struct {
    const char *rule, *categories;
} allowed[] = {
    {"+info", "@slow @dangerous"},
    {"+keys", "@keyspace @read @slow @dangerous"},
    {"+flushall", "@keyspace @write @slow @dangerous"},
    {"+flushdb", "@keyspace @write @slow @dangerous"},
    {"+sort", "@write @set @sortedset @list @slow @dangerous"},
    {"+restore", "@keyspace @write @slow @dangerous"},
    {"+role", "@admin @fast @dangerous"},
    {"+client|list", "@admin @slow @dangerous @connection"},
    {"+module|list", "@admin @slow @dangerous"},
    {"+acl|whoami", "@slow"},
    {"+cluster|info", "@slow"},
    {"+cluster|nodes", "@slow"},
    {"+cluster|slots", "@slow"},
    {"+cluster|keyslot", "@slow"},
    {"+cluster|myid", "@slow"},
    {"+cluster|countkeysinslot", "@slow"},
    {"+cluster|getkeysinslot", "@slow"},
};
static const char *const taken[] = {"-@admin", "-@dangerous"};

_Static_assert(ARRAY_SIZE(allowed) + ARRAY_SIZE(taken) <= DATA_RULES_MAX, "room for all");

size_t data_rules_all(const char **argv)
{
    size_t count = 0;

    for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
        argv[count++] = taken[i];
    for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
        argv[count++] = allowed[i].rule;
    return count;
}

/* --- what a user had of these commands --- */

struct held {
    bool has[ARRAY_SIZE(allowed)];
};

static bool is_in(const char *category, const char *categories)
{
    size_t len = strlen(category);

    for (const char *p = categories; *p; p += strspn(p, " ")) {
        size_t word = strcspn(p, " ");
        if (word == len && strncasecmp(p, category, len) == 0)
            return true;
        p += word;
    }
    return strcasecmp(category, "@all") == 0;
}

/* The command itself, or the one whose subcommand it is. */
static bool is_command(const char *name, const char *command)
{
    size_t len = strlen(name);
    return strncasecmp(command, name, len) == 0 && (!command[len] || command[len] == '|');
}

/* As the server does, rule by rule. */
static void take_rule(struct held *held, const char *rule)
{
    bool all = strcasecmp(rule, "allcommands") == 0, none = strcasecmp(rule, "nocommands") == 0;
    bool gives = *rule == '+' || all;

    if (*rule != '+' && *rule != '-' && !all && !none)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
        if (all || none ||
            (rule[1] == '@' ? is_in(rule + 1, allowed[i].categories)
                            : is_command(rule + 1, allowed[i].rule + 1)))
            held->has[i] = gives;
}

static void add_limit(const struct held *held, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
        buf_addf(out, " %s", taken[i]);
    for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
        if (held->has[i])
            buf_addf(out, " %s", allowed[i].rule);
}

/* "(~x +get)", which has rights of its own, also without a parenthesis at its end. */
static void add_selector(const char *selector, struct buf *out)
{
    AUTO_FREE char *text = xstrdup(selector + 1);
    struct held held = {.has = {false}};
    char *rest = NULL;
    bool first = true;

    text[strcspn(text, ")")] = '\0';
    if (!text[strspn(text, " ")])
        return; /* it gives nothing */
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        take_rule(&held, word);
        buf_addf(out, " %s%s", first ? "(" : "", word);
        first = false;
    }
    add_limit(&held, out);
    buf_addc(out, ')');
}

char *data_rules_limit(const char *line)
{
    struct buf out = BUF_INIT;
    struct held held = {.has = {false}};
    struct user_line u;

    if (!user_line_parse(line, &u))
        return NULL;
    buf_addf(&out, "user %s", u.name);
    for (size_t i = 3; i < u.count; i++) {
        if (u.argv[i][0] == '(') {
            add_selector(u.argv[i], &out);
            continue;
        }
        take_rule(&held, u.argv[i]);
        buf_addf(&out, " %s", u.argv[i]);
    }
    add_limit(&held, &out);
    user_line_release(&u);
    return buf_take(&out);
}
