#include "script.h"

#include <inttypes.h>

#include "recluster/shell_quote.h"

static void add_name(struct buf *out, const char *variable, const char *value)
{
    buf_addf(out, "%s=", variable);
    shell_quote(out, value);
    buf_addc(out, '\n');
}

/* A shell reads all of it before it runs any of it, because of the braces. */
static void begin(struct buf *out, const char *word)
{
    buf_adds(out, "{\n");
    add_name(out, "w", word);
}

static void end(struct buf *out)
{
    buf_adds(out, "exit 0\n}\n");
}

/* Words after `test`: whether it is there, and may be read. */
static void add_check(struct buf *out, const char *kind, const char *rights)
{
    buf_addf(out,
        "if [ ! -%s \"$p\" ]; then\n"
        "  d=${p%%/*}\n"
        "  if [ -n \"$d\" ] && [ -d \"$d\" ] && [ ! -x \"$d\" ]; then echo \"$w denied\"; exit 0; fi\n"
        "  echo \"$w missing\"; exit 0\n"
        "fi\n"
        "if [ ! -r \"$p\" ]%s; then echo \"$w denied\"; exit 0; fi\n",
        kind, rights);
}

void script_list(struct buf *out, const char *word, const char *folder)
{
    begin(out, word);
    add_name(out, "p", folder);
    add_check(out, "d", " || [ ! -x \"$p\" ]");
    buf_adds(out, "cd \"$p\" || exit 1\n"
                  "echo \"$w list\"\n"
                  "for f in * .*; do\n"
                  "  if [ -f \"$f\" ]; then\n"
                  "    s=$(stat -L -c '%s %Y' \"./$f\") && printf 'f %s %s\\000' \"$s\" \"$f\"\n"
                  "  elif [ -d \"$f\" ]; then printf 'd 0 0 %s\\000' \"$f\"\n"
                  "  fi\n"
                  "done\n");
    end(out);
}

void script_read(
    struct buf *out, const char *word, const char *path, int64_t offset, int64_t length)
{
    static const char head[] = "s=$(stat -L -c '%s %Y %i' \"$p\") || exit 1\n";

    begin(out, word);
    add_name(out, "p", path);
    add_check(out, "f", "");
    buf_adds(out, head);
    buf_addf(out,
        "echo \"$w file $s\"\n"
        "o=%" PRId64 " l=%" PRId64 " n=$((${s%%%% *} - o))\n"
        "if [ $l -lt 0 ] || [ $l -gt $n ]; then l=$n; fi\n"
        "if [ $l -gt 0 ]; then tail -c +$((o + 1)) \"$p\" | head -c $l; fi\n",
        offset, length);
    buf_adds(out, head);
    buf_adds(out, "echo \"$w file $s\"\n");
    end(out);
}
