#include "shell.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/clock.h"
#include "recluster/digest.h"
#include "recluster/json.h"
#include "recluster/program.h"
#include "recluster/shell_quote.h"

enum {
    LOGIN_MS = 30 * 1000,
    SILENCE_MS = 30 * 1000, /* for an answer, or for bytes to be accepted */
    NOISE_MAX = 256 * 1024, /* for the output of a login */
    LINE_MAX_BYTES = 1024,
    CHUNK_BYTES = 16 * 1024,
    SAID_MAX = 400, /* of the shell's output, in a message */
    WORD_BYTES = 16,
    END_MS = 2000,
    END_POLL_MS = 20,
};

#define WORD_BEGIN "recluster-"

enum step { LOGIN, START, ASK, SEND, END_INPUT, STORED, READY };

struct shell {
    const struct shell_driver *driver;
    void *stream;
    char *host, *base_dir;
    struct program *program;
    enum step step;
    char *word; /* begins the lines of answers */
    struct buf script;
    const struct buf *archive; /* NULL: not asked for */
    size_t written;            /* of the script or archive */
    struct buf in;             /* received and not read yet */
    int64_t deadline_ms;
    bool hung_up;
};

void shell_add_errors(struct buf *errors, const void *data, size_t len)
{
    buf_add(errors, data, len);
    if (errors->len > SHELL_ERRORS_MAX)
        buf_consume(errors, errors->len - SHELL_ERRORS_MAX);
}

static void quoted(struct buf *script, const char *name, const char *value)
{
    buf_addf(script, "%s=", name);
    shell_quote(script, value);
    buf_addc(script, '\n');
}

/*
 * One compound command, so that the shell has read all of it before it runs any. The host builds
 * the word from two parts, so the echo of the command is not taken for an answer. If there is no
 * mkdir, GNU tar makes the folder.
 */
char *shell_script(const char *word, const char *base_dir, const char *machine, const char *loader,
    const char *hash)
{
    struct buf s = BUF_INIT;
    AUTO_FREE char *folder = xasprintf("%s/agent/%s", base_dir, hash);

    buf_adds(&s, "{\n");
    quoted(&s, "w", word);
    quoted(&s, "d", folder);
    quoted(&s, "m", machine);
    quoted(&s, "l", loader ? loader : "");
    buf_adds(&s,
        "say() { printf '\\n%s%s %s\\n' '" WORD_BEGIN "' \"$w\" \"$1\"; }\n"
        "agent() {\n"
        "    f=$1; shift\n"
        "    if [ \"$l\" ]; then \"$f/$l\" --library-path \"$f\" \"$f/recluster\" agent \"$@\"\n"
        "    else \"$f/recluster\" agent \"$@\"; fi\n"
        "}\n"
        "has() { command -v \"$1\" >/dev/null 2>&1; }\n"
        /* A user who may change the folder, or one above it, could put a program there. */
        "me=$(id -u 2>/dev/null)\n"
        "safe() {\n"
        "    p=$1\n"
        "    while :; do\n"
        "        if [ -e \"$p\" ] || [ -L \"$p\" ]; then\n"
        "            set -- $(ls -ldn \"$p\" 2>/dev/null)\n"
        "            case $3 in 0|\"$me\") ;; *) say \"owner $3 $p\"; return 1;; esac\n"
        "            case $1 in\n"
        "            l*|?????????[tT]*) ;;\n"
        "            ?????w*|????????w*) say \"open $1 $p\"; return 1;;\n"
        "            esac\n"
        "        fi\n"
        "        [ \"$p\" = / ] && return 0\n"
        "        p=${p%/*}\n"
        "        [ \"$p\" ] || p=/\n"
        "    done\n"
        "}\n"
        /* Checks the path as written and after resolving links. */
        "all_safe() {\n"
        "    safe \"$1\" || return 1\n"
        "    e=$1\n"
        "    while ! [ -d \"$e\" ] && [ \"$e\" ]; do e=${e%/*}; done\n"
        "    e=$(cd -P \"${e:-/}\" 2>/dev/null && pwd -P) && safe \"$e\"\n"
        "}\n"
        "cd /\n"
        "LC_ALL=C; export LC_ALL\n"
        "if has ls && [ \"$me\" ]; then\n"
        "    all_safe \"$d\" || exit 1\n"
        "elif [ -e \"$d\" ] && ! [ -O \"$d\" ]; then\n"
        "    say \"owner ? $d\"; exit 1\n"
        "fi\n"
        "if [ -f \"$d/recluster\" ]; then\n"
        "    if has sha256sum; then\n"
        "        s=$(cd \"$d\" && sha256sum -- * 2>/dev/null | sha256sum)\n"
        "        [ \"${s%% *}\" = \"${d##*/}\" ] || { say damaged; exit 1; }\n"
        "    fi\n"
        "    say start\n"
        "    if [ \"$l\" ]; then\n"
        "        exec \"$d/$l\" --library-path \"$d\" \"$d/recluster\" agent\n"
        "    fi\n"
        "    exec \"$d/recluster\" agent\n"
        "fi\n"
        "u=$(uname -m 2>/dev/null)\n"
        "if [ \"$u\" ] && [ \"$u\" != \"$m\" ]; then say \"machine $u\"; exit 1; fi\n"
        "umask 077\n"
        "t=$d.$$\n"
        "if has mkdir; then\n"
        "    mkdir -p \"$t\" || { say folder; exit 1; }\n"
        "    unpack() { (cd \"$t\" && tar -xof -); }\n"
        "else\n"
        "    unpack() { tar -xof - --one-top-level=\"${t#/}\"; }\n"
        "fi\n"
        "if has gzip; then\n"
        "    say 'absent gzip'\n"
        "    gzip -dc | unpack\n"
        "else\n"
        "    say 'absent plain'\n"
        "    unpack\n"
        "fi || { rm -rf \"$t\" 2>/dev/null; say unpack; exit 1; }\n"
        "agent \"$t\" install \"$t\" \"$d\" || { rm -rf \"$t\" 2>/dev/null; say install; exit 1; }\n"
        "say stored\n"
        "exit 0\n"
        "}\n");
    return buf_take(&s);
}

static int64_t soon(int64_t ms)
{
    return clock_mono_ms() + ms;
}

static int shell_open(const struct shell_driver *driver, const struct link_target *target,
    void **ret, struct err *err)
{
    const char *base_dir = json_text(target->spec, "base_dir", NULL);
    struct program *program = program_self(err);
    void *stream;

    if (!program || driver->open(target, &stream, err) < 0)
        return -1;
    struct shell *s = xcalloc(1, sizeof(*s));
    *s = (struct shell){
        .driver = driver,
        .stream = stream,
        .host = xstrdup(target->host),
        .base_dir = xstrdup(base_dir ? base_dir : "/var/lib/recluster"),
        .program = program,
        .step = LOGIN,
        .script = BUF_INIT,
        .in = BUF_INIT,
        .deadline_ms = soon(LOGIN_MS),
    };
    *ret = s;
    return 0;
}

static void shell_close(void *stream)
{
    struct shell *s = stream;

    s->driver->close(s->stream);
    buf_release(&s->script);
    buf_release(&s->in);
    free(s->word);
    free(s->host);
    free(s->base_dir);
    free(s);
}

/* Adds the end of the shell's standard error, as one line. */
static int add_said(const struct shell *s, struct err *err)
{
    const struct buf *errors = s->driver->errors(s->stream);
    size_t len = errors->len;
    struct buf said = BUF_INIT;

    while (len && strchr(" \r\n", errors->data[len - 1]))
        len--;
    size_t from = len > SAID_MAX ? len - SAID_MAX : 0;
    /* The reason may be on standard output, as with nologin. */
    const struct buf *text = len ? errors : &s->in;
    if (!len) {
        len = s->step == READY ? 0 : text->len;
        while (len && strchr(" \r\n", text->data[len - 1]))
            len--;
        from = len > SAID_MAX ? len - SAID_MAX : 0;
        while (from < len && strchr(" \r\n", text->data[from]))
            from++;
    }
    for (size_t i = from; i < len; i++) {
        char c = text->data[i];
        buf_addc(&said, c == '\n' ? '|' : c >= ' ' && c <= '~' ? c : '?');
    }
    if (said.len) {
        struct err plain = *err;
        err_set(err, plain.code, "%.600s; it said: %s", plain.message, said.data);
        if (plain.hint[0])
            err_hint(err, "%s", plain.hint);
    }
    buf_release(&said);
    return -1;
}

/* Sets *ret to the answer without the word; 1: complete; 0: not yet. */
static int find_answer(struct shell *s, char **ret, struct err *err)
{
    AUTO_FREE char *begin = xasprintf("\n" WORD_BEGIN "%s ", s->word);
    char *at = s->in.len ? memmem(s->in.data, s->in.len, begin, strlen(begin)) : NULL;

    if (!at && s->in.len > NOISE_MAX)
        return err_set(err, ERR_LIMIT, "the login prints more than %d bytes", NOISE_MAX);
    if (!at)
        return 0;
    const char *line = at + strlen(begin);
    size_t left = s->in.len - (size_t)(line - s->in.data);
    const char *end = memchr(line, '\n', left);
    if (!end)
        return left > LINE_MAX_BYTES
                   ? err_set(err, ERR_PROTOCOL, "the answer of its shell does not end")
                   : 0;
    *ret = xstrndup(line, (size_t)(end - line));
    buf_consume(&s->in, (size_t)(end + 1 - s->in.data));
    return 1;
}

/* "owner 1000 /var/x" or "open drwxrwxrwx /var/x". */
static int refuse_folder(const struct shell *s, const char *answer, struct err *err)
{
    const char *who = strchr(answer, ' ') + 1, *path = strchr(who, ' ');

    if (!path)
        return err_set(err, ERR_PROTOCOL, "its shell gives an unknown answer");
    if (*answer == 'o' && answer[1] == 'w')
        err_set(err, ERR_CHECK, "'%.500s' belongs to another user (%.*s)", path + 1,
            (int)(path - who), who);
    else
        err_set(err, ERR_CHECK, "'%.500s' may be changed by other users (%.*s)", path + 1,
            (int)(path - who), who);
    return err_hint(err,
        "\"base_dir\" ('%s') and all folders above it must belong to the user of the link or to root, "
        "and nobody else may write to them: what others put there would be run.",
        s->base_dir);
}

static int refuse_answer(const struct shell *s, const char *answer, struct err *err)
{
    if (strncmp(answer, "machine ", 8) == 0) {
        err_set(err, ERR_UNSUPPORTED, "its architecture is %s, this program is for %s", answer + 8,
            s->program->machine);
        return err_hint(err, "Run recluster from a machine of the same architecture as the hosts.");
    }
    if (strncmp(answer, "owner ", 6) == 0 || strncmp(answer, "open ", 5) == 0)
        return refuse_folder(s, answer, err);
    if (strcmp(answer, "damaged") == 0) {
        err_set(err, ERR_CHECK, "the program in '%s/agent/%s' is not the one that was sent there",
            s->base_dir, s->program->hash);
        return err_hint(err, "Find out who changed it; then remove that folder on the host.");
    }
    if (strcmp(answer, "folder") == 0) {
        err_set(err, ERR_DENIED, "its folder '%s' cannot be created", s->base_dir);
        err_hint(err,
            "Create it there for the user of the link (install -d -o USER -m 700 '%s'), or name "
            "another \"base_dir\" in the hosts file.",
            s->base_dir);
    } else if (strcmp(answer, "unpack") == 0) {
        err_set(err, ERR_FAILED, "the agent could not be unpacked into '%s/agent'", s->base_dir);
        err_hint(err, "It needs tar and 25 MB of disk there.");
    } else if (strcmp(answer, "install") == 0) {
        err_set(err, ERR_FAILED, "the agent was sent to '%s/agent' but does not run", s->base_dir);
        err_hint(err, "The folder must be on a disk from which programs may be run (no noexec).");
    } else {
        err_set(err, ERR_PROTOCOL, "its shell gives an unknown answer: '%.60s'", answer);
    }
    return add_said(s, err);
}

static void go(struct shell *s, enum step step)
{
    s->step = step;
    s->written = 0;
    s->deadline_ms = soon(SILENCE_MS);
}

static int take_answer(struct shell *s, const char *answer, struct err *err)
{
    if (s->step == ASK && strcmp(answer, "start") == 0) {
        go(s, READY);
    } else if (s->step == ASK && !s->archive && strncmp(answer, "absent ", 7) == 0) {
        s->archive = program_archive(s->program, strcmp(answer + 7, "gzip") == 0, err);
        if (!s->archive)
            return -1;
        go(s, SEND);
    } else if (s->step == STORED && strcmp(answer, "stored") == 0) {
        go(s, START);
    } else {
        return refuse_answer(s, answer, err);
    }
    return 0;
}

/* The shell's output has ended; its status is known a moment later. */
static int explain_end(struct shell *s, struct err *err)
{
    struct err why = ERR_INIT;

    if (!s->hung_up) {
        s->hung_up = true;
        s->deadline_ms = soon(END_MS);
    }
    if (s->driver->end(s->stream, &why) == LINK_IO_WAIT) {
        if (clock_mono_ms() < s->deadline_ms)
            return LINK_IO_WAIT;
        err_set(&why, ERR_LINK, "its shell closed the link");
    }
    *err = why;
    if (s->step == ASK) { /* no agent runs yet */
        static const char agent[] = "the agent ";
        if (strncmp(why.message, agent, sizeof(agent) - 1) == 0)
            err_set(err, why.code, "its shell %s", why.message + sizeof(agent) - 1);
        err_hint(err,
            "The link needs a POSIX shell: its user must be allowed to run 'sh' there (no "
            "ForceCommand, no nologin).");
    }
    return add_said(s, err);
}

/* Reads until an answer has arrived. */
static int await_answer(struct shell *s, struct err *err)
{
    char chunk[CHUNK_BYTES];
    char *answer = NULL;
    int rc;

    while ((rc = find_answer(s, &answer, err)) == 0) {
        ssize_t n = s->driver->read(s->stream, chunk, sizeof(chunk), err);
        if (n == LINK_IO_WAIT)
            return LINK_IO_WAIT;
        if (n < 0)
            return add_said(s, err);
        if (n == 0)
            return explain_end(s, err);
        buf_add(&s->in, chunk, (size_t)n);
    }
    if (rc < 0)
        return add_said(s, err);
    rc = take_answer(s, answer, err);
    free(answer);
    return rc;
}

/* 0: all is written, or cannot be; then the answer or the shell's end tells why. */
static int write_all(struct shell *s, const struct buf *data)
{
    struct err broken = ERR_INIT;

    while (s->written < data->len) {
        ssize_t n =
            s->driver->write(s->stream, data->data + s->written, data->len - s->written, &broken);
        if (n == LINK_IO_WAIT)
            return LINK_IO_WAIT;
        if (n < 0)
            break;
        s->written += (size_t)n;
        s->deadline_ms = soon(SILENCE_MS);
    }
    s->written = data->len;
    return 0;
}

static int start(struct shell *s, struct err *err)
{
    int rc = s->driver->start(s->stream, err);

    if (rc != 0)
        return rc;
    free(s->word);
    s->word = random_hex(WORD_BYTES);
    buf_clear(&s->in);
    buf_addc(&s->in, '\n'); /* an answer may be the first line */
    buf_release(&s->script);
    AUTO_FREE char *script = shell_script(
        s->word, s->base_dir, s->program->machine, s->program->loader, s->program->hash);
    buf_adds(&s->script, script);
    go(s, ASK);
    return 0;
}

static int do_step(struct shell *s, struct err *err)
{
    int rc = 0;

    switch (s->step) {
    case LOGIN:
        rc = s->driver->login ? s->driver->login(s->stream, err) : 0;
        if (rc == 0)
            go(s, START);
        return rc;
    case START:
        return start(s, err);
    case ASK:
        rc = write_all(s, &s->script);
        return rc == 0 ? await_answer(s, err) : rc;
    case SEND:
        rc = write_all(s, s->archive);
        if (rc == 0)
            go(s, END_INPUT);
        return rc;
    case END_INPUT:
        rc = s->driver->end_input(s->stream, err);
        if (rc == 0)
            go(s, STORED);
        return rc;
    case STORED:
        return await_answer(s, err);
    case READY:
        break;
    }
    return 0;
}

static const char *const doing[] = {
    [LOGIN] = "the login",
    [START] = "a shell",
    [ASK] = "the shell's answer",
    [SEND] = "the host to receive the agent",
    [END_INPUT] = "the host to receive the agent",
    [STORED] = "the agent to be stored",
};

static int shell_connect(void *stream, struct err *err)
{
    struct shell *s = stream;

    while (s->step != READY) {
        int rc = do_step(s, err);
        if (rc == LINK_IO_WAIT && clock_mono_ms() >= s->deadline_ms) {
            err_set(err, ERR_TIMEOUT, "waited too long for %s", doing[s->step]);
            return add_said(s, err);
        }
        if (rc != 0)
            return rc;
    }
    return 0;
}

static ssize_t shell_read(void *stream, void *data, size_t size, struct err *err)
{
    struct shell *s = stream;

    if (!s->in.len)
        return s->driver->read(s->stream, data, size, err);
    if (size > s->in.len)
        size = s->in.len;
    memcpy(data, s->in.data, size);
    buf_consume(&s->in, size);
    return (ssize_t)size;
}

static ssize_t shell_write(void *stream, const void *data, size_t size, struct err *err)
{
    const struct shell *s = stream;
    return s->driver->write(s->stream, data, size, err);
}

static void shell_wait(void *stream, bool writing, struct wait *wait)
{
    const struct shell *s = stream;

    if (s->step == READY) {
        s->driver->wait(s->stream, writing, wait);
        return;
    }
    if (s->hung_up) { /* no more events are to be expected */
        wait_until(wait, soon(END_POLL_MS));
        return;
    }
    const struct buf *data = s->step == ASK ? &s->script : s->step == SEND ? s->archive : NULL;
    s->driver->wait(s->stream, data && s->written < data->len, wait);
    wait_until(wait, s->deadline_ms);
}

static int shell_end(void *stream, struct err *why)
{
    const struct shell *s = stream;
    int rc = s->driver->end(s->stream, why);

    if (rc == 0)
        add_said(s, why);
    return rc;
}

static int open_ssh(const struct link_target *target, void **ret, struct err *err)
{
    return shell_open(&shell_ssh, target, ret, err);
}

static int open_command(const struct link_target *target, void **ret, struct err *err)
{
    return shell_open(&shell_command, target, ret, err);
}

const struct link_driver link_ssh = {
    .kind = "ssh",
    .open = open_ssh,
    .connect = shell_connect,
    .read = shell_read,
    .write = shell_write,
    .wait = shell_wait,
    .end = shell_end,
    .close = shell_close,
};

const struct link_driver link_command = {
    .kind = "command",
    .open = open_command,
    .connect = shell_connect,
    .read = shell_read,
    .write = shell_write,
    .wait = shell_wait,
    .end = shell_end,
    .close = shell_close,
};
