/* Options that write a file: an output never replaces an input, nor any other file by accident. */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "recluster/file.h"
#include "recluster/out_file.h"

/* Options whose value is a file or folder to read; --state is protected too. */
static const enum option inputs[] = {
    OPT_HOSTS, OPT_STATE, OPT_DIFF, OPT_PLAN, OPT_LOCATION, OPT_SOURCE};
static const enum option outputs[] = {OPT_SVG, OPT_PLAN_OUT, OPT_HTML, OPT_OUT, OPT_SLOTS};

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* The path in "db:1=/path" or "0-99=/path"; else the word itself. */
static const char *path_of(enum option option, const char *word)
{
    const char *equals = option == OPT_SOURCE || option == OPT_SLOTS ? strchr(word, '=') : NULL;
    return equals ? equals + 1 : word;
}

/* Whether it is the file itself, or in the folder that is read. */
static bool is_input(const char *input, const char *output, const struct stat *found)
{
    AUTO_FREE char *dir = path_dir(output);
    struct stat st, its_dir;

    if (stat(input, &st) < 0)
        return false;
    if (is_same_file(&st, found))
        return true;
    return S_ISDIR(st.st_mode) && stat(dir, &its_dir) == 0 && is_same_file(&st, &its_dir);
}

static int refuse_input(const char *output, const char *input, struct err *err)
{
    err_set(err, ERR_CHECK, "the output '%s' is the input '%s', or is in it", output, input);
    return err_hint(err, "Name another file for the output. An input is never replaced.");
}

static int check_inputs(
    const struct arguments *args, const char *output, const struct stat *found, struct err *err)
{
    static const char *const beside[] = {"-wal", "-shm", "-lock"};

    for (size_t i = 0; i < args->word_count; i++)
        if (is_input(args->words[i], output, found))
            return refuse_input(output, args->words[i], err);
    for (size_t k = 0; k < ARRAY_SIZE(inputs); k++)
        for (const char **word = args->values[inputs[k]]; word && *word; word++)
            if (is_input(path_of(inputs[k], *word), output, found))
                return refuse_input(output, path_of(inputs[k], *word), err);
    for (size_t k = 0; argument(args, OPT_STATE) && k < ARRAY_SIZE(beside); k++) {
        AUTO_FREE char *path = xasprintf("%s%s", argument(args, OPT_STATE), beside[k]);
        if (is_input(path, output, found))
            return refuse_input(output, path, err);
    }
    return 0;
}

/* The kind of a file that no picture or page may replace even with --force; NULL: another file. */
static const char *protected_kind(const char *path)
{
    static const struct {
        const char *start, *what;
    } kinds[] = {{"REDIS", "an RDB file"}, {"VALKEY", "an RDB file"}, {"\x1f\x8b", "a packed file"},
        {"\x28\xb5\x2f\xfd", "a packed file"}, {"SQLite format 3", "a state file"},
        {"*", "an append-only file"}};
    char head[16] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? 0 : read(fd, head, sizeof(head));

    if (fd >= 0)
        close(fd);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (n >= (ssize_t)strlen(kinds[i].start) &&
            memcmp(head, kinds[i].start, strlen(kinds[i].start)) == 0)
            return kinds[i].what;
    return NULL;
}

static int check_output(const struct arguments *args, const char *output, struct err *err)
{
    struct stat found;

    if (lstat(output, &found) < 0)
        return 0;
    if (S_ISLNK(found.st_mode) && stat(output, &found) < 0)
        return err_set(err, ERR_CHECK, "the output '%s' is a link to nothing", output);
    if (check_inputs(args, output, &found, err) < 0)
        return -1;
    if (!S_ISREG(found.st_mode))
        return S_ISDIR(found.st_mode) ? err_set(err, ERR_CHECK, "'%s' is a folder", output) : 0;
    const char *what = protected_kind(output);
    if (what && args->given[OPT_FORCE]) {
        err_set(err, ERR_CHECK, "'%s' is %s: --force does not replace it", output, what);
        return err_hint(err, "Name another file, or move that one away.");
    }
    if (args->given[OPT_FORCE])
        return 0;
    err_set(err, ERR_CHECK, "'%s' exists already", output);
    return err_hint(err, "Move it away, name another file%s.",
        args->values[OPT_SVG] || args->values[OPT_PLAN_OUT] || args->values[OPT_HTML]
            ? ", or replace it with --force"
            : "");
}

static bool names_same_file(const char *a, const char *b)
{
    AUTO_FREE char *a_dir = path_dir(a);
    AUTO_FREE char *b_dir = path_dir(b);
    struct stat a_st, b_st;

    return strcmp(path_base(a), path_base(b)) == 0 && stat(a_dir, &a_st) == 0 &&
           stat(b_dir, &b_st) == 0 && is_same_file(&a_st, &b_st);
}

int outputs_check(const struct arguments *args, struct err *err)
{
    const char *seen[64];
    size_t count = 0;

    for (size_t k = 0; k < ARRAY_SIZE(outputs); k++)
        for (const char **word = args->values[outputs[k]]; word && *word; word++) {
            const char *path = path_of(outputs[k], *word);
            /* The folder of `rdb split --shards`; its files are checked once they have names. */
            if (outputs[k] == OPT_OUT && args->given[OPT_SHARDS])
                continue;
            for (size_t i = 0; i < count; i++)
                if (names_same_file(seen[i], path))
                    return err_set(err, ERR_USAGE, "'%s' is named for two outputs", path);
            if (count < ARRAY_SIZE(seen))
                seen[count++] = path;
            if (check_output(args, path, err) < 0)
                return -1;
        }
    return 0;
}

int output_write(
    const struct arguments *args, const char *path, const struct buf *text, struct err *err)
{
    struct stat found;
    bool device = stat(path, &found) == 0 && !S_ISREG(found.st_mode) && !S_ISDIR(found.st_mode);

    if (check_output(args, path, err) < 0)
        return -1;
    if (!device) {
        /* A link stays; its target is replaced. */
        AUTO_FREE char *real = realpath(path, NULL);
        return out_file_write(real ? real : path, text->data, text->len, 0666,
            args->given[OPT_FORCE] ? OUT_FILE_REPLACE : OUT_FILE_NEW, err);
    }
    /* /dev/stdout or a pipe: nothing can be lost. */
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, ERR_IO, "cannot open '%s'", path);
    int rc = file_write_all(fd, text->data, text->len, path, err);
    if (close(fd) < 0 && rc == 0)
        rc = err_sys(err, ERR_IO, "cannot write '%s'", path);
    return rc;
}
