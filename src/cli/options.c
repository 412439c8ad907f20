#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "recluster/human.h"
#include "recluster/secret.h"
#include "recluster/shell_quote.h"

static const struct {
    const char *name, *arg, *help;
    enum option_group group;
    bool repeatable;
} options[] = {
#define CLI_ROW(id, group, name, arg, repeatable, help) [id] = {name, arg, help, group, repeatable},
    CLI_OPTIONS(CLI_ROW)
#undef CLI_ROW
};

static const char *const headings[] = {
#define CLI_HEADING(id, heading) [id] = (heading),
    CLI_GROUPS(CLI_HEADING)
#undef CLI_HEADING
};

bool options_have(const enum option *list, enum option option)
{
    while (*list != OPT_COUNT && *list != option)
        list++;
    return *list == option;
}

static int unknown_option(const struct command *command, const char *word, struct err *err)
{
    const char *known[OPT_COUNT + 1];
    size_t count = 0, len = strcspn(word, "=");
    AUTO_FREE char *name = xstrndup(word, len);

    for (enum option i = 0; i < OPT_COUNT; i++)
        if (options_have(command->options, i))
            known[count++] = options[i].name;
    known[count] = NULL;
    err_set(err, ERR_USAGE, "'%s' has no option '--%s'", command->name, name);
    const char *nearest = human_nearest(name, known);
    return nearest ? err_hint(err, "Did you mean '--%s'?", nearest)
                   : err_hint(err, "See: recluster %s --help", command->name);
}

static int find_option(const struct command *command, const char *word, struct err *err)
{
    size_t len = strcspn(word, "=");

    for (enum option i = 0; i < OPT_COUNT; i++)
        if (options_have(command->options, i) && strlen(options[i].name) == len &&
            strncmp(options[i].name, word, len) == 0)
            return (int)i;
    return unknown_option(command, word, err);
}

static void add_value(struct arguments *args, size_t option, const char *value)
{
    size_t count = 0;

    while (args->values[option] && args->values[option][count])
        count++;
    args->values[option] = xreallocarray(args->values[option], count + 2, sizeof(char *));
    args->values[option][count] = value;
    args->values[option][count + 1] = NULL;
}

/* "db:7" is like "db:1]". */
static bool is_like(const char *word, const char *example)
{
    return strncmp(word, example, strcspn(example, ":") + 1) == 0;
}

/* Takes argv[*at], and the next word if it is the value. */
static int take_option(const struct command *command, int argc, char **argv, int *at,
    struct arguments *args, struct err *err)
{
    const char *word = argv[*at] + 2, *equals = strchr(word, '=');
    int option = find_option(command, word, err);

    if (option < 0)
        return -1;
    if (args->given[option] && !options[option].repeatable && options[option].arg)
        return err_set(err, ERR_USAGE, "'--%s' is given twice", options[option].name);
    args->given[option] = true;
    if (options[option].arg && options[option].arg[0] == '[') {
        const char *next = *at + 1 < argc ? argv[*at + 1] : "";
        bool taken = !equals && is_like(next, options[option].arg + 1);
        add_value(args, (size_t)option, equals ? equals + 1 : taken ? next : "");
        *at += taken;
        return 0;
    }
    if (!options[option].arg)
        return equals ? err_set(err, ERR_USAGE, "'--%s' takes no value", options[option].name) : 0;
    if (!equals && *at + 1 >= argc) {
        err_set(err, ERR_USAGE, "'--%s' needs a value", options[option].name);
        return err_hint(err, "Write: --%s %s", options[option].name, options[option].arg);
    }
    add_value(args, (size_t)option, equals ? equals + 1 : argv[++*at]);
    return 0;
}

static int check_words(const struct command *command, const struct arguments *args, struct err *err)
{
    CLEANUP(buf_release) struct buf usage = BUF_INIT;

    if (args->word_count >= command->min_words && args->word_count <= command->max_words)
        return 0;
    if (args->given[OPT_FROM_FOLDERS]) /* all words are folders */
        return 0;
    if (args->word_count <= command->max_words) {
        err_set(err, ERR_USAGE, "'%s' needs %s", command->name, command->words);
    } else {
        const char *word = args->words[command->max_words];
        err_set(err, ERR_USAGE, "'%s' does not know what to do with '%s'", command->name, word);
        if (options_have(command->options, OPT_STATE) && !args->given[OPT_STATE]) {
            AUTO_FREE char *path = shell_path_word(word);
            return err_hint(err, "Did you mean: recluster %s --state %s", command->name, path);
        }
    }
    command_usage(command, &usage);
    return err_hint(err, "%s", usage.data);
}

int arguments_parse(
    const struct command *command, int argc, char **argv, struct arguments *ret, struct err *err)
{
    bool only_words = false;

    *ret = (struct arguments){.words = xcalloc((size_t)argc + 1, sizeof(char *))};
    for (int i = 0; i < argc; i++) {
        if (!only_words && strcmp(argv[i], "--") == 0) {
            only_words = true;
        } else if (!only_words && strcmp(argv[i], "-h") == 0) {
            ret->given[OPT_HELP] = true;
        } else if (!only_words && argv[i][0] == '-' && argv[i][1] == '-') {
            if (take_option(command, argc, argv, &i, ret, err) < 0)
                return -1;
        } else if (!only_words && argv[i][0] == '-' && argv[i][1]) {
            err_set(err, ERR_USAGE, "'%s' has no option '%s'", command->name, argv[i]);
            return err_hint(err, "Options are long words: see recluster %s --help", command->name);
        } else {
            ret->words[ret->word_count++] = argv[i];
        }
    }
    return ret->given[OPT_HELP] ? 0 : check_words(command, ret, err);
}

void arguments_release(struct arguments *args)
{
    free(args->words);
    for (size_t i = 0; i < OPT_COUNT; i++)
        free(args->values[i]);
}

const char *argument(const struct arguments *args, enum option option)
{
    const char **values = args->values[option];

    if (!values)
        return NULL;
    while (values[1])
        values++;
    return values[0];
}

int argument_rate(const struct arguments *args, int64_t *ret, struct err *err)
{
    const char *text = argument(args, OPT_LIMIT_RATE);
    uint64_t bytes = 0;

    *ret = 0;
    if (!text)
        return 0;
    if (human_parse_bytes(text, &bytes, err) < 0)
        return err_wrap(err, "--limit-rate");
    if (bytes == 0 || bytes > INT64_MAX)
        return err_set(err, ERR_USAGE, "--limit-rate: '%s' is not a rate such as 50M", text);
    *ret = (int64_t)bytes;
    return 0;
}

/*
 * A URL may contain a password or, in its query, a signature, and the output may be kept. A key may
 * precede it: "db:1=https://…".
 */
static bool holds_secret(const char *value)
{
    static const char scheme[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-";
    const char *url = strstr(value, "://");

    if (!url)
        return false;
    while (url > value && strchr(scheme, url[-1]))
        url--;
    AUTO_FREE char *masked = secret_mask_url(url);
    return strcmp(masked, url) != 0;
}

static void add_given(struct buf *out, size_t option, const char *value)
{
    bool optional = options[option].arg[0] == '[';
    AUTO_FREE char *word = shell_word(value);

    buf_addf(out, " --%s", options[option].name);
    if (optional && value[0])
        buf_addf(out, "=%s", word);
    else if (!optional)
        buf_addf(out, " %s", holds_secret(value) ? options[option].arg : word);
}

void arguments_text(const struct arguments *args, const enum option *which, struct buf *out)
{
    for (size_t i = 0; i < args->word_count; i++) {
        AUTO_FREE char *word = shell_path_word(args->words[i]);
        buf_addf(out, " %s", word);
    }
    for (enum option i = 0; i < OPT_COUNT; i++) {
        if (!options_have(which, i) || !args->given[i])
            continue;
        if (!options[i].arg)
            buf_addf(out, " --%s", options[i].name);
        for (size_t k = 0; args->values[i] && args->values[i][k]; k++)
            add_given(out, i, args->values[i][k]);
    }
}

const char *option_name(enum option option)
{
    return options[option].name;
}

void command_usage(const struct command *command, struct buf *out)
{
    buf_addf(out, "usage: recluster %s%s%s [OPTION...]", command->name, *command->words ? " " : "",
        command->words);
}

/* Prints words of `text` from column `indent` up to column 79. */
static void add_wrapped(struct buf *out, const char *text, size_t column, size_t indent)
{
    while (*text) {
        size_t len = strcspn(text, " ");
        if (column > indent && column + 1 + len > 79) {
            buf_addf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            buf_addc(out, ' ');
            column++;
        }
        buf_add(out, text, len);
        column += len;
        text += len;
        while (*text == ' ')
            text++;
    }
    buf_addc(out, '\n');
}

static void add_option_help(size_t option, struct buf *out)
{
    enum { HELP_COLUMN = 28 };
    const char *arg = options[option].arg;
    size_t start = out->len;

    buf_addf(out, "  --%s%s%s", options[option].name, arg ? " " : "", arg ? arg : "");
    if (out->len - start + 1 >= HELP_COLUMN)
        buf_addf(out, "\n%*s", HELP_COLUMN, "");
    else
        buf_addf(out, "%*s", (int)(HELP_COLUMN - (out->len - start)), "");
    add_wrapped(out, options[option].help, HELP_COLUMN, HELP_COLUMN);
}

static void add_group_help(
    const struct command *command, enum option_group group, bool headed, struct buf *out)
{
    bool first = true;

    for (enum option i = 0; i < OPT_COUNT; i++) {
        if (!options_have(command->options, i) || options[i].group != group)
            continue;
        if (first && headed)
            buf_addf(out, "\n%s:\n", headings[group]);
        first = false;
        add_option_help(i, out);
    }
}

void command_help(const struct command *command, struct buf *out)
{
    enum { MANY = 10 };
    size_t count = 0;

    while (command->options[count] != OPT_COUNT)
        count++;
    bool headed = count > MANY;
    command_usage(command, out);
    buf_addf(out, "\n\n");
    add_wrapped(out, command->summary, 0, 0);
    if (command->help) {
        buf_addc(out, '\n');
        add_wrapped(out, command->help, 0, 0);
    }
    if (!headed)
        buf_adds(out, "\nOptions:\n");
    for (enum option_group group = 0; group < GROUP_COUNT; group++)
        add_group_help(command, group, headed, out);
}
