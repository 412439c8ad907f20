#include "acl_words.h"

#include <string.h>
#include <strings.h>

#include "recluster/buf.h"

enum { NAME_BYTES_MAX = 512, RULES_MAX = 2000, HASH_DIGITS = 64 };

bool acl_is_name(const char *name)
{
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return false;
    return *name && strlen(name) <= NAME_BYTES_MAX;
}

bool acl_is_hash(struct arena *arena, const char *text, const char **ret)
{
    static const char digits[] = "0123456789abcdefABCDEF";

    text += *text == '#';
    if (strlen(text) != HASH_DIGITS || strspn(text, digits) != HASH_DIGITS)
        return false;
    char *hash = arena_strdup(arena, text);
    for (char *p = hash; *p; p++)
        if (*p >= 'A' && *p <= 'F')
            *p = (char)(*p - 'A' + 'a');
    *ret = hash;
    return true;
}

/* --- rules --- */

struct rules {
    struct buf text;
    size_t count;
    bool in_selector, channels;
};

static bool is_among(const char *word, size_t len, const char *const *list)
{
    for (; *list; list++)
        if (strlen(*list) == len && strncasecmp(word, *list, len) == 0)
            return true;
    return false;
}

/* Quotes are refused because it is not known whether the old cluster took them as quotes. */
static bool is_plain(const char *word, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)word[i] <= ' ' || strchr("\x7f\"'()", word[i]))
            return false;
    return len > 0;
}

static bool add_rule(struct rules *r, const char *word, size_t len)
{
    static const char *const words[] = {"allkeys", "resetkeys", "allcommands", "nocommands", NULL};
    static const char *const channels[] = {"allchannels", "resetchannels", NULL};

    if (!is_plain(word, len) || r->count++ >= RULES_MAX)
        return false;
    bool about_channels = *word == '&' || is_among(word, len, channels);
    r->channels |= about_channels && !r->in_selector;
    buf_add(&r->text, word, len);
    return about_channels || is_among(word, len, words) || (strchr("+-~%", *word) && len > 1);
}

/* A word of the text: a rule, perhaps the first or last of a selector. */
static bool add_word(struct rules *r, const char *word, size_t len)
{
    bool begins = *word == '(', ends = word[len - 1] == ')' && (begins || r->in_selector);

    if (begins && r->in_selector)
        return false;
    if (r->text.len)
        buf_addc(&r->text, ' ');
    if (begins)
        buf_addc(&r->text, '(');
    r->in_selector |= begins;
    size_t parens = (size_t)begins + (size_t)ends;
    if (len <= parens || !add_rule(r, word + begins, len - parens))
        return false;
    if (ends)
        buf_addc(&r->text, ')');
    r->in_selector &= !ends;
    return true;
}

const char *acl_rules(struct arena *arena, const char *text, bool *ret_channels)
{
    static const char spaces[] = " \t\r\n";
    struct rules r = {.text = BUF_INIT};
    bool good = true;

    for (const char *p = text + strspn(text, spaces); good && *p; p += strspn(p, spaces)) {
        size_t len = strcspn(p, spaces);
        good = add_word(&r, p, len);
        p += len;
    }
    const char *rules = good && !r.in_selector ? arena_strdup(arena, r.text.data) : NULL;
    *ret_channels = r.channels;
    buf_release(&r.text);
    return rules;
}
