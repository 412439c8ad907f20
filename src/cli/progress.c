#include "progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "command.h"
#include "recluster/clock.h"
#include "recluster/human.h"
#include "recluster/json.h"
#include "recluster/recover.h"

enum { BAR_WIDTH = 24, LINE_EVERY_MS = 5000, RATE_OVER_MS = 2000 };

struct progress {
    bool verbose, terminal, drawn;
    int64_t started_ms, line_at_ms;
    /* The rate is measured from this time and number of bytes on. */
    const char *stage;
    int64_t from_ms, from_bytes;
    double rate;
};

struct progress *progress_new(bool verbose)
{
    struct progress *p = xcalloc(1, sizeof(*p));
    const char *term = getenv("TERM");

    p->verbose = verbose;
    p->terminal = isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0);
    p->started_ms = p->line_at_ms = clock_mono_ms();
    return p;
}

static void erase(struct progress *p)
{
    if (p->drawn)
        fputs("\r\033[K", stderr);
    p->drawn = false;
}

void progress_free(struct progress *p)
{
    erase(p);
    free(p);
}

/* The rate of the last seconds, averaged so that it is readable. */
static double rate_of(struct progress *p, const struct recover_progress *now, int64_t at_ms)
{
    bool other = !p->stage || strcmp(p->stage, now->stage) != 0 || now->bytes_done < p->from_bytes;

    if (other) {
        p->stage = now->stage;
        p->from_bytes = now->bytes_done;
        p->from_ms = at_ms;
        p->rate = 0;
    } else if (at_ms - p->from_ms >= RATE_OVER_MS) {
        double rate =
            (double)(now->bytes_done - p->from_bytes) * 1000 / (double)(at_ms - p->from_ms);
        p->rate = p->rate > 0 ? (p->rate + rate) / 2 : rate;
        p->from_bytes = now->bytes_done;
        p->from_ms = at_ms;
    }
    return p->rate;
}

static void add_bytes(const struct recover_progress *now, double rate, struct buf *out)
{
    char done[HUMAN_TEXT_MAX], total[HUMAN_TEXT_MAX], speed[HUMAN_TEXT_MAX], left[HUMAN_TEXT_MAX];
    bool known = now->bytes_total > 0 && now->bytes_done <= now->bytes_total;

    if (now->bytes_done <= 0 && now->bytes_total <= 0)
        return;
    buf_addf(out, "  %s", human_bytes((uint64_t)now->bytes_done, done));
    if (known)
        buf_addf(out, " of %s", human_bytes((uint64_t)now->bytes_total, total));
    if (rate >= 1)
        buf_addf(out, ", %s/s", human_bytes((uint64_t)rate, speed));
    if (known && rate >= 1)
        buf_addf(out, ", %s left",
            human_duration(
                (int64_t)((double)(now->bytes_total - now->bytes_done) * 1000 / rate), left));
}

static void format_line(
    struct progress *p, const struct recover_progress *now, int64_t at_ms, struct buf *out)
{
    char time[HUMAN_TEXT_MAX];
    size_t filled = now->tasks_total ? now->tasks_done * BAR_WIDTH / now->tasks_total : 0;

    buf_addc(out, '[');
    for (size_t i = 0; i < BAR_WIDTH; i++)
        buf_addc(out, i < filled ? '#' : '.');
    buf_addf(out, "] %zu/%zu  %s", now->tasks_done, now->tasks_total,
        now->doing ? now->doing : now->stage);
    add_bytes(now, rate_of(p, now, at_ms), out);
    buf_addf(out, "  %s", human_duration(at_ms - p->started_ms, time));
    if (now->tasks_failed)
        buf_addf(out, "  %zu failed", now->tasks_failed);
}

/* A line that is longer than the terminal would wrap and be drawn again below itself. */
static void cut_to_terminal(struct buf *line)
{
    struct winsize size;
    size_t columns =
        ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80;

    if (line->len >= columns) {
        line->len = columns - 1;
        line->data[line->len] = '\0';
    }
}

void progress_show(void *arg, const struct recover_progress *now)
{
    struct progress *p = arg;
    CLEANUP(buf_release) struct buf line = BUF_INIT;
    int64_t at = clock_mono_ms();

    if (!p->terminal && at < p->line_at_ms + LINE_EVERY_MS)
        return;
    p->line_at_ms = at;
    format_line(p, now, at, &line);
    if (p->terminal)
        cut_to_terminal(&line);
    if (p->terminal)
        fprintf(stderr, "\r%s\033[K", line.data);
    else
        fprintf(stderr, "%s\n", line.data);
    p->drawn = p->terminal;
}

void progress_tell(void *arg, const char *line)
{
    struct progress *p = arg;

    erase(p);
    print_plain(stderr, line);
    fputc('\n', stderr);
}

void progress_doing(void *arg, const char *line)
{
    struct progress *p = arg;
    int64_t at = clock_mono_ms();

    if (!p->terminal && at < p->line_at_ms + LINE_EVERY_MS)
        return;
    p->line_at_ms = at;
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    buf_adds(&text, line);
    if (p->terminal)
        cut_to_terminal(&text);
    fputs(p->terminal ? "\r" : "", stderr);
    print_plain(stderr, text.data);
    fputs(p->terminal ? "\033[K" : "\n", stderr);
    p->drawn = p->terminal;
}

/* --verbose shows the steps of single shards; ends, failures and oddities are always shown. */
static bool is_worth_a_line(const struct progress *p, const json_t *event)
{
    const char *code = json_text(event, "event", NULL);

    return p->verbose || (strcmp(code, "task-started") != 0 && strcmp(code, "task-done") != 0);
}

/* Failed tasks are reported at the end. */
static const char *hint_of(const json_t *event)
{
    const char *code = json_text(event, "code", NULL);

    return code && strcmp(code, "task-failed") == 0
               ? NULL
               : json_text(json_object_get(event, "detail"), "hint", NULL);
}

void progress_event(void *arg, const json_t *event)
{
    struct progress *p = arg;
    const char *severity = json_text(event, "severity", NULL);
    const char *message = json_text(event, "message", NULL);

    if (!is_worth_a_line(p, event))
        return;
    erase(p);
    if (strcmp(severity, "info") != 0)
        fprintf(stderr, "%s: ", severity);
    print_plain(stderr, message);
    fputc('\n', stderr);
    if (hint_of(event)) {
        print_plain(stderr, hint_of(event));
        fputc('\n', stderr);
    }
}
