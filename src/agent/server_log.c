#include "server_log.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recluster/mem.h"

enum {
    TAIL_BYTES = 8192,
    CAUSE_BYTES = 512 * 1024, /* a crash report is long */
    LINE_MAX_BYTES = 300,
};

static void make_printable(char *text)
{
    for (; *text; text++)
        if (*text != '\n' && (*text < ' ' || *text > '~'))
            *text = '?';
}

char *server_log_tail_of(const char *text, size_t len, size_t max)
{
    while (len && isspace((unsigned char)text[len - 1]))
        len--;
    const char *start = text, *end = text + len;
    if (len > max) {
        const char *line = memchr(end - max, '\n', max);
        start = line ? line + 1 : end - max;
    }
    char *tail = xstrndup(start, (size_t)(end - start));
    make_printable(tail);
    return tail;
}

char *server_log_in_one_line(char *lines)
{
    for (char *p = lines; *p; p++)
        if (*p == '\n')
            *p = '|';
    return lines;
}

/* The last bytes of the log; the caller's. */
static char *read_end(size_t max, size_t *ret_len)
{
    char *text = xmalloc(max);
    int fd = open("server.log", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    *ret_len = 0;
    if (fd < 0)
        return text;
    off_t size = lseek(fd, 0, SEEK_END);
    ssize_t len = pread(fd, text, max, size > (off_t)max ? size - (off_t)max : 0);
    close(fd);
    if (len > 0)
        *ret_len = (size_t)len;
    return text;
}

char *server_log_tail(size_t max)
{
    size_t len;
    AUTO_FREE char *text = read_end(TAIL_BYTES, &len);

    return server_log_tail_of(text, len, max);
}

static const struct {
    const char *words, *advice;
} causes[] = {
    {"RDB has duplicated key",
        "The file has a key twice, and servers refuse that: take another copy of it, or an older "
        "backup. 'recluster rdb scan' names such keys; 'recluster rdb split' saves the slots "
        "without them."},
    {"The RDB file contains module data for the module",
        "The server's module cannot read a value of the file, which another version wrote. Use a "
        "server and a module as new as those that wrote the file: 'recluster rdb scan' shows "
        "'redis-ver'."},
    {"Internal error in RDB reading",
        "The server finds the file damaged: take another copy of it, or an older backup. "
        "'recluster rdb split' saves the slots that are whole."},
    {"Can't handle RDB format version",
        "The file was written by a newer server: install one that is as new on this host."},
    {"FATAL", NULL},
    {"Fatal error", NULL},
    {"Guru Meditation", NULL},
};

static bool tells_cause(const char *line, size_t len)
{
    for (size_t i = 0; i < ARRAY_SIZE(causes); i++)
        if (memmem(line, len, causes[i].words, strlen(causes[i].words)))
            return true;
    return false;
}

/* The text after the last line that reports a start. */
static const char *last_start(const char *text, size_t len)
{
    static const char words[] = " is starting oO0";
    const char *found = text, *end = text + len;

    for (const char *p = text; (p = memmem(p, (size_t)(end - p), words, sizeof(words) - 1)) != NULL;
         p++)
        found = p;
    return found;
}

/* "12:M 30 Nov 2026 13:00:00.000 # RDB has…" without the prefix of each line. */
static char *message_of(const char *line, size_t len)
{
    static const char *const marks[] = {" # ", " * ", " - ", " . "};
    enum { WITHIN = 50 };

    for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
        const char *mark = memmem(line, len < WITHIN ? len : WITHIN, marks[i], 3);
        if (!mark)
            continue;
        len -= (size_t)(mark + 3 - line);
        line = mark + 3;
        break;
    }
    char *message = xstrndup(line, len < LINE_MAX_BYTES ? len : LINE_MAX_BYTES);
    make_printable(message);
    return message;
}

char *server_log_cause(void)
{
    size_t len;
    AUTO_FREE char *text = read_end(CAUSE_BYTES, &len);
    const char *end = text + len;

    for (const char *line = last_start(text, len), *next; line < end; line = next) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        next = stop ? stop + 1 : end;
        size_t bytes = (size_t)((stop ? stop : end) - line);
        if (tells_cause(line, bytes))
            return message_of(line, bytes);
    }
    return NULL;
}

const char *server_log_advice(const char *cause)
{
    for (size_t i = 0; i < ARRAY_SIZE(causes); i++)
        if (strstr(cause, causes[i].words))
            return causes[i].advice;
    return NULL;
}
