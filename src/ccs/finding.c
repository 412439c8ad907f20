#include "finding.h"

#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include "recluster/buf.h"

enum { MESSAGE_BYTES_MAX = 1000 };

static const struct {
    const char *word, *severity;
} codes[] = {
#define FINDING_ENTRY(id, word, severity) {word, severity},
    FINDING_CODES(FINDING_ENTRY)
#undef FINDING_ENTRY
};

void finding_add_key(json_t *keys, const char *type, const char *uid)
{
    json_array_append_new(keys, json_sprintf("%s:%s", type, uid));
}

json_t *finding_key_list(const char *const *pairs)
{
    json_t *keys = json_array();

    for (; pairs[0]; pairs += 2)
        finding_add_key(keys, pairs[0], pairs[1]);
    return keys;
}

/* Makes the text printable, and cuts a long one between two characters. */
static char *printable(const char *text)
{
    struct buf out = BUF_INIT;

    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;
        if (out.len >= MESSAGE_BYTES_MAX && (c & 0xc0) != 0x80) {
            buf_adds(&out, "...");
            break;
        }
        if (c < 0x20 || c == 0x7f)
            buf_addf(&out, "\\x%02x", c);
        else
            buf_addc(&out, (char)c);
    }
    return buf_take(&out);
}

static void insert(
    struct findings *f, enum finding_code code, const json_t *keys, const char *message)
{
    if (f->failed)
        return;
    f->failed = state_run(f->state, f->err,
                    "INSERT INTO finding (severity, code, message, keys) VALUES (?, ?, ?, ?)",
                    "sssj", codes[code].severity, codes[code].word, message, keys) < 0;
}

void finding_add(struct findings *f, enum finding_code code, json_t *keys, const char *fmt, ...)
{
    json_t *list = keys ? keys : json_array();

    if (f->counts[code]++ < FINDING_MAX_PER_CODE) {
        va_list args;
        va_start(args, fmt);
        AUTO_FREE char *text = xvasprintf(fmt, args);
        va_end(args);
        AUTO_FREE char *message = printable(text);
        insert(f, code, list, message);
    }
    json_decref(list);
}

void findings_end(struct findings *f)
{
    for (size_t code = 0; code < FINDING_MORE; code++)
        if (f->counts[code] > FINDING_MAX_PER_CODE)
            finding_add(f, FINDING_MORE, NULL, "%zu more findings '%s' are not listed",
                f->counts[code] - FINDING_MAX_PER_CODE, codes[code].word);
}
