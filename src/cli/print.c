#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "recluster/file.h"
#include "recluster/report.h"

bool print_colour(int fd)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

    return isatty(fd) && !(no_color && *no_color) && !(term && strcmp(term, "dumb") == 0);
}

int print_text(const struct buf *text, struct err *err)
{
    return file_write_all(STDOUT_FILENO, text->data, text->len, "standard output", err);
}

static int print_dump(const json_t *document, size_t flags, struct err *err)
{
    CLEANUP(buf_release) struct buf out = BUF_INIT;
    AUTO_FREE char *text = json_dumps(document, flags | JSON_ENCODE_ANY);

    if (!text)
        return err_set(err, ERR_BUG, "cannot write JSON");
    buf_addf(&out, "%s\n", text);
    return print_text(&out, err);
}

int print_json(const json_t *document, struct err *err)
{
    return print_dump(document, JSON_INDENT(2), err);
}

int print_result(const struct arguments *args, const json_t *document,
    void (*text)(const json_t *document, bool colour, struct buf *out), struct err *err)
{
    CLEANUP(buf_release) struct buf out = BUF_INIT;

    if (args->given[OPT_JSON])
        return print_json(document, err);
    text(document, print_colour(STDOUT_FILENO), &out);
    return print_text(&out, err);
}

int print_json_line(const json_t *document, struct err *err)
{
    return print_dump(document, JSON_COMPACT, err);
}

void print_plain(FILE *out, const char *text)
{
    for (; *text; text += strcspn(text, "\n")) {
        CLEANUP(buf_release) struct buf safe = BUF_INIT;
        for (; *text == '\n'; text++)
            fputc('\n', out);
        AUTO_FREE char *line = xstrndup(text, strcspn(text, "\n"));
        report_add_safe(&safe, line);
        fputs(safe.len ? safe.data : "", out);
    }
}

void print_error(const struct err *err)
{
    bool colour = print_colour(STDERR_FILENO);

    fprintf(stderr, "%srecluster:%s ", colour ? "\033[1;31m" : "", colour ? "\033[0m" : "");
    print_plain(stderr, err->message[0] ? err->message : err_code_text(err->code));
    fputc('\n', stderr);
    if (err->hint[0]) {
        print_plain(stderr, err->hint);
        fputc('\n', stderr);
    }
}

int ask_yes(const char *question, struct err *err)
{
    enum { ASKED_MAX = 5 };
    char answer[16];

    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
        err_set(err, ERR_CHECK, "confirmation is needed, but standard input is not a terminal");
        return err_hint(err, "Add --yes if you are sure.");
    }
    fprintf(stderr, "%s [yes/no] ", question);
    for (int i = 0; i < ASKED_MAX && fgets(answer, sizeof(answer), stdin); i++) {
        if (strcmp(answer, "yes\n") == 0)
            return 0;
        if (strcmp(answer, "no\n") == 0)
            break;
        fputs("Please type yes or no: ", stderr);
    }
    return err_set(err, ERR_CANCELLED, "not confirmed; nothing was changed");
}
