#include "next_command.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "doc.h"
#include "recluster/buf.h"

static bool is_plain(const char *s)
{
    for (const char *p = s; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("_./:@%+=,-", *p))
            return false;
    return *s != '\0';
}

/* Whether a terminal and a JSON document can hold it as it is. */
static bool is_printable(const char *s)
{
    while (*s) {
        uint32_t c = doc_next_char(&s);
        if (c < 0x20 || c == 0xFFFD || (c >= 0x7F && c < 0xA0))
            return false;
    }
    return true;
}

/* $'…' says any byte in plain ASCII; shells that matter know it. */
static void quote_bytes(const char *s, struct buf *out)
{
    buf_adds(out, "$'");
    for (const unsigned char *p = (const unsigned char *)s; *p; p++) {
        if (*p < 0x20 || *p >= 0x7F)
            buf_addf(out, "\\%03o", *p);
        else if (*p == '\'' || *p == '\\')
            buf_addf(out, "\\%c", *p);
        else
            buf_addc(out, (char)*p);
    }
    buf_addc(out, '\'');
}

static void quote(const char *s, struct buf *out)
{
    if (is_plain(s)) {
        buf_adds(out, s);
    } else if (!is_printable(s)) {
        quote_bytes(s, out);
    } else {
        buf_addc(out, '\'');
        for (; *s; s++)
            if (*s == '\'')
                buf_adds(out, "'\\''");
            else
                buf_addc(out, *s);
        buf_addc(out, '\'');
    }
}

char *next_command(enum next_step step, const char *state_path)
{
    static const char *const verbs[] = {[NEXT_RECOVER] = "recover",
        [NEXT_REPLAN] = "recover",
        [NEXT_STATUS] = "status",
        [NEXT_REPORT] = "report"};
    struct buf command = BUF_INIT;

    buf_addf(&command, "recluster %s --state ", verbs[step]);
    quote(state_path, &command);
    if (step == NEXT_REPORT)
        buf_adds(&command, " --html report.html");
    if (step == NEXT_REPLAN)
        buf_adds(&command, " --replan-lost");
    return buf_take(&command);
}
