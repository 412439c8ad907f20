/*
 * Links through a shell: here one on this machine. The program that travels is this test itself,
 * which is the agent when it is started with that word.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "echo_agent.h"
#include "recluster/child.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/link.h"
#include "recluster/program.h"
#include "recluster/shell_quote.h"
#include "shell.h"

static char *root; /* of the test; removed at the end */

static const char *const hostile[] = {"plain", "it's \"quoted\"", "$(touch pwned)", "`touch pwned`",
    "two\nlines", "a  b\t;& |c", "*?[x]{a,b}~!#\\", "-rf", "%s%n", "\xc3\xa9\x01", "\xff\\'\x7f",
    ""};

static void quoted_words_come_through(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
        struct buf script = BUF_INIT, said = BUF_INIT;
        struct err err = ERR_INIT;
        AUTO_FREE char *word = shell_word(hostile[i]);
        AUTO_FREE char *for_people = xasprintf("cd / && printf '%%s.' %s", word);
        buf_adds(&script, "cd / && printf '%s.' ");
        shell_quote(&script, hostile[i]);
        assert_int_equal(
            child_run((const char *[]){"sh", "-c", script.data, NULL}, 10000, 1000, &said, &err),
            0);
        assert_int_equal(
            child_run((const char *[]){"bash", "-c", for_people, NULL}, 10000, 1000, &said, &err),
            0);
        AUTO_FREE char *twice = xasprintf("%s.%s.", hostile[i], hostile[i]);
        assert_string_equal(said.data, twice);
        buf_release(&script);
        buf_release(&said);
    }
    assert_false(file_exists("/pwned"));
}

static void words_that_need_no_quotes_stay_readable(void **state)
{
    static const struct {
        char *(*word)(const char *value);
        const char *value, *wanted;
    } cases[] = {
        {shell_word, "/var/lib/x-1_2.state", "/var/lib/x-1_2.state"},
        {shell_word, "it's", "'it'\\''s'"},
        {shell_word, "caf\xc3\xa9", "'caf\xc3\xa9'"},
        {shell_word, "caf\xe9", "$'caf\\351'"},
        {shell_word, "\x1b[2J'", "$'\\033[2J\\''"},
        {shell_word, "\xc2\x9b", "$'\\302\\233'"},
        {shell_word, "-x", "-x"},
        {shell_path_word, "-x", "./-x"},
        {shell_path_word, "-my file", "'./-my file'"},
        {shell_path_word, "-", "-"},
        {shell_path_word, "a-x", "a-x"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_FREE char *word = cases[i].word(cases[i].value);
        assert_string_equal(word, cases[i].wanted);
    }
}

/* --- a link, one call over it --- */

struct call {
    struct loop *loop;
    struct err err;
    json_t *result;
};

static void on_answer(void *ctx, const json_t *result, const struct err *err)
{
    struct call *c = ctx;
    if (err)
        c->err = *err;
    c->result = json_deep_copy(result);
    loop_stop(c->loop);
}

/* Calls "echo" on a fresh link. 0: it came back. */
static int call_over(
    json_t *spec, const char *name, const char *method, int64_t silence_ms, struct err *ret_err)
{
    struct call c = {.loop = loop_new()};
    struct err err = ERR_INIT;
    struct link *link = NULL;
    const struct link_target target = {
        .host = name, .kind = "command", .spec = spec, .silence_ms = silence_ms};
    json_t *params = json_pack("{s:s}", "text", "a 'b'\n$c");

    int rc = link_open(c.loop, &target, NULL, NULL, &link, &c.err);
    if (rc == 0) {
        link_call(link, method, json_incref(params), 20000, on_answer, NULL, &c);
        assert_int_equal(loop_run(c.loop, &err), 0);
        rc = c.result && json_equal(c.result, params) ? 0 : -1;
    }
    link_close(link);
    loop_free(c.loop);
    json_decref(c.result);
    json_decref(params);
    json_decref(spec);
    *ret_err = c.err;
    return rc;
}

static char *below(const char *name)
{
    return path_join(root, name);
}

static json_t *shell_spec(const char *base_dir, json_t *command)
{
    return json_pack(
        "{s:s, s:s, s:o}", "addr", "127.0.0.1", "base_dir", base_dir, "command", command);
}

static char *installed(const char *base_dir)
{
    struct err err = ERR_INIT;
    const struct program *program = program_self(&err);
    assert_non_null(program);
    return xasprintf("%s/agent/%s", base_dir, program->hash);
}

static void the_program_travels(void **state)
{
    AUTO_FREE char *base_dir = below("it's \"x\"\n$(touch pwned)`touch pwned`; -rf &*?\\ %s");
    AUTO_FREE char *folder = installed(base_dir);
    AUTO_FREE char *program = path_join(folder, "recluster");
    struct err err = ERR_INIT;
    struct stat first, second;

    (void)state;
    assert_false(file_exists(base_dir));
    assert_int_equal(
        call_over(shell_spec(base_dir, json_pack("[s]", "sh")), "h", "echo", 0, &err), 0);
    assert_int_equal(stat(program, &first), 0);
    /* Now it is there, and used as it is. */
    assert_int_equal(
        call_over(shell_spec(base_dir, json_pack("[s]", "sh")), "h", "echo", 0, &err), 0);
    assert_int_equal(stat(program, &second), 0);
    assert_int_equal(first.st_ino, second.st_ino);
    assert_false(file_exists("/pwned"));
}

/* Shells that read ahead must take nothing that is the program's or the agent's. */
static void all_shells_will_do(void **state)
{
    static const char *const shells[] = {"dash", "bash", "busybox", "ksh", "zsh", "mksh"};
    int tried = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(shells); i++) {
        AUTO_FREE char *base_dir = below(shells[i]);
        AUTO_FREE char *path = path_join("/bin", shells[i]);
        struct err err = ERR_INIT;
        if (!file_exists(path))
            continue;
        json_t *command = strcmp(shells[i], "busybox") == 0 ? json_pack("[s, s]", path, "sh")
                                                            : json_pack("[s]", path);
        assert_int_equal(call_over(shell_spec(base_dir, command), "h", "echo", 0, &err), 0);
        tried++;
    }
    assert_true(tried > 0);
}

static void noise_before_the_answer_is_skipped(void **state)
{
    AUTO_FREE char *base_dir = below("noisy");
    struct err err = ERR_INIT;

    (void)state;
    json_t *command = json_pack("[s, s, s]", "sh", "-c",
        "echo Welcome; echo 'recluster-x start'; echo '{\"jsonrpc\":\"2.0\"}'; printf 'no end'; "
        "exec sh");
    assert_int_equal(call_over(shell_spec(base_dir, command), "h", "echo", 0, &err), 0);
}

/* A folder for PATH with these tools, and a script of our own in the place of one. */
static char *tools(const char *name, const char *own, const char *script)
{
    static const char *const needed[] = {"sh", "uname", "mkdir", "tar", "rm"};
    char *dir = below(name);
    struct err err = ERR_INIT;

    assert_int_equal(dir_make(dir, 0700, &err), 0);
    for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
        AUTO_FREE char *at = path_join(dir, needed[i]);
        AUTO_FREE char *from = path_join("/bin", needed[i]);
        assert_int_equal(symlink(from, at), 0);
    }
    if (own) {
        AUTO_FREE char *at = path_join(dir, own);
        unlink(at);
        assert_int_equal(file_write_atomic(at, script, strlen(script), 0700, &err), 0);
    }
    return dir;
}

static void what_the_host_lacks(void **state)
{
    static const struct {
        const char *name, *own, *script, *says; /* NULL: all is well */
        enum err_code code;
    } cases[] = {
        {"no gzip", NULL, NULL, NULL, 0},
        {"other kind", "uname", "#!/bin/sh\necho mips64\n",
            "cannot reach host 'h': its architecture is mips64, this program is for ",
            ERR_UNSUPPORTED},
        {"no uname", "uname", "#!/bin/sh\nexit 1\n", NULL, 0},
        {"no tar", "tar", "#!/bin/sh\necho no tar here >&2; exit 1\n", "it said: no tar here",
            ERR_FAILED},
        {"full", "mkdir", "#!/bin/sh\necho \"mkdir: cannot create '$2'\" >&2; exit 1\n",
            "cannot be created; it said: mkdir: cannot create", ERR_DENIED},
        {"damage", "tar",
            "#!/bin/sh\n/bin/tar \"$@\" && for f in lib*; do echo >> $f; break; done\n",
            "arrived damaged in", ERR_FAILED},
        {"cut short", "tar", "#!/bin/sh\nexec /usr/bin/head -c 1000000 | /bin/tar \"$@\"\n",
            "could not be unpacked", ERR_FAILED},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_FREE char *path = tools(cases[i].name, cases[i].own, cases[i].script);
        AUTO_FREE char *base_dir = xasprintf("%s.base", path);
        AUTO_FREE char *agents = path_join(base_dir, "agent");
        AUTO_FREE char *set = xasprintf("PATH=%s", path);
        struct err err = ERR_INIT;
        char **names = NULL;
        size_t count = 0;
        json_t *command = json_pack("[s, s, s]", "/usr/bin/env", set, "/bin/sh");
        int rc = call_over(shell_spec(base_dir, command), "h", "echo", 0, &err);
        if (!cases[i].says) {
            assert_int_equal(rc, 0);
            continue;
        }
        assert_int_equal(rc, -1);
        assert_int_equal(err.code, cases[i].code);
        if (!strstr(err.message, cases[i].says))
            fail_msg("%s: %s", cases[i].name, err.message);
        if (file_exists(agents)) /* nothing half is left */
            assert_int_equal(dir_list(agents, &names, &count, &err), 0);
        assert_int_equal(count, 0);
        strv_free(names, count);
    }
}

/* What another user may change there would be run as us. */
static void folders_of_others_are_refused(void **state)
{
    static const struct {
        const char *name, *part; /* below base_dir; "": itself; NULL: its parent */
        uid_t owner;
        mode_t mode;
        bool runs;
        const char *says;
    } cases[] = {
        {"other user", "", 12345, 0700, false, "belongs to another user (12345)"},
        {"other user above", NULL, 12345, 0755, false, "belongs to another user (12345)"},
        {"other user's agent", "/agent", 12345, 0700, false, "belongs to another user (12345)"},
        {"all", "", 0, 0777, false, "may be changed by other users (drwxrwxrwx)"},
        {"a group", "", 0, 0775, false, "may be changed by other users (drwxrwxr-x)"},
        {"all above", NULL, 0, 0777, false, "may be changed by other users"},
        {"all above, sticky", NULL, 0, 01777, true, NULL},
        {"read by all", "", 0, 0755, true, NULL},
    };

    (void)state;
    if (geteuid() != 0)
        skip();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_FREE char *parent = below(cases[i].name);
        AUTO_FREE char *base_dir = path_join(parent, "base");
        AUTO_FREE char *part =
            cases[i].part ? xasprintf("%s%s", base_dir, cases[i].part) : xstrdup(parent);
        struct err err = ERR_INIT;
        assert_int_equal(
            call_over(shell_spec(base_dir, json_pack("[s]", "sh")), "h", "echo", 0, &err), 0);
        assert_int_equal(chown(part, cases[i].owner, 0), 0);
        assert_int_equal(chmod(part, cases[i].mode), 0);
        int rc = call_over(shell_spec(base_dir, json_pack("[s]", "sh")), "h", "echo", 0, &err);
        assert_int_equal(rc, cases[i].runs ? 0 : -1);
        if (cases[i].runs)
            continue;
        assert_int_equal(err.code, ERR_CHECK);
        if (!strstr(err.message, cases[i].says))
            fail_msg("%s: %s", cases[i].name, err.message);
    }
}

static void a_changed_program_is_not_run(void **state)
{
    AUTO_FREE char *base_dir = below("changed");
    AUTO_FREE char *folder = installed(base_dir);
    AUTO_FREE char *program = path_join(folder, "recluster");
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(
        call_over(shell_spec(base_dir, json_pack("[s]", "sh")), "h", "echo", 0, &err), 0);
    static const char planted[] = "#!/bin/sh\ntouch /tmp/recluster-was-planted\n";
    assert_int_equal(file_write_atomic(program, planted, sizeof(planted) - 1, 0700, &err), 0);
    assert_int_equal(
        call_over(shell_spec(base_dir, json_pack("[s]", "sh")), "h", "echo", 0, &err), -1);
    assert_int_equal(err.code, ERR_CHECK);
    assert_non_null(strstr(err.message, "is not the one that was sent there"));
    assert_false(file_exists("/tmp/recluster-was-planted"));
}

static void what_ends_early(void **state)
{
    AUTO_FREE char *base_dir = below("early");
    struct err err = ERR_INIT;

    (void)state;
    json_t *command = json_pack("[s, s, s]", "sh", "-c", "echo no such pod >&2; exit 3");
    assert_int_equal(call_over(shell_spec(base_dir, command), "h", "echo", 0, &err), -1);
    assert_int_equal(err.code, ERR_LINK);
    assert_string_equal(err.message, "cannot reach host 'h': its command, 'sh', ended with status "
                                     "3; it said: no such pod");
    command = json_pack("[s]", "/nonexistent/kubectl");
    assert_int_equal(call_over(shell_spec(base_dir, command), "h", "echo", 0, &err), -1);
    assert_non_null(strstr(err.message, "'/nonexistent/kubectl'"));
    assert_int_equal(
        call_over(shell_spec(base_dir, json_pack("[s]", "sh")), "h", "exit", 0, &err), -1);
    assert_non_null(strstr(err.message, "lost the link to host 'h'"));
    assert_non_null(strstr(err.message, "ended with status 3"));
}

static void placeholders(void **state)
{
    static const struct {
        const char *arg, *name, *says; /* says: of the error */
    } cases[] = {
        {"{addr}", "h", NULL},
        {"{name}", "it's $(h)\n", NULL},
        {"{name}", "-oProxyCommand=x", "no usable value for '{name}'"},
        {"me@{addr}", "h", "'{addr}' is part of an argument"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_FREE char *base_dir = below("filled");
        AUTO_FREE char *note = below("note");
        struct buf got = BUF_INIT;
        struct err err = ERR_INIT;
        json_t *command = json_pack(
            "[s, s, s, s, s]", "sh", "-c", "printf %s \"$1\" >\"$2\"; exec sh", "-", cases[i].arg);
        json_array_append_new(command, json_string(note));
        int rc = call_over(shell_spec(base_dir, command), cases[i].name, "echo", 0, &err);
        if (cases[i].says) {
            assert_int_equal(rc, -1);
            assert_int_equal(err.code, ERR_USAGE);
            assert_non_null(strstr(err.message, cases[i].says));
            continue;
        }
        assert_int_equal(rc, 0);
        assert_int_equal(file_read(note, 1000, &got, &err), 0);
        assert_string_equal(
            got.data, strcmp(cases[i].arg, "{addr}") == 0 ? "127.0.0.1" : cases[i].name);
        buf_release(&got);
    }
}

static void silence_is_the_end(void **state)
{
    AUTO_FREE char *base_dir = below("silent");
    struct err err = ERR_INIT;
    int64_t start_ms = clock_mono_ms();

    (void)state;
    assert_int_equal(
        call_over(shell_spec(base_dir, json_pack("[s]", "sh")), "h", "nothing", 500, &err), -1);
    assert_int_equal(err.code, ERR_LINK);
    assert_string_equal(
        err.message, "lost the link to host 'h': no message came from it for 0.5 s");
    assert_true(clock_mono_ms() - start_ms < 10000);
}

static int make_root(void **state)
{
    char template[] = "/tmp/recluster test's XXXXXX";
    (void)state;
    root = mkdtemp(template) ? xstrdup(template) : NULL;
    return root ? 0 : -1;
}

static int remove_root(void **state)
{
    struct err err = ERR_INIT;
    (void)state;
    int rc = dir_remove(root, &err);
    free(root);
    return rc;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quoted_words_come_through),
        cmocka_unit_test(words_that_need_no_quotes_stay_readable),
        cmocka_unit_test(the_program_travels),
        cmocka_unit_test(all_shells_will_do),
        cmocka_unit_test(noise_before_the_answer_is_skipped),
        cmocka_unit_test(what_the_host_lacks),
        cmocka_unit_test(folders_of_others_are_refused),
        cmocka_unit_test(a_changed_program_is_not_run),
        cmocka_unit_test(what_ends_early),
        cmocka_unit_test(placeholders),
        cmocka_unit_test(silence_is_the_end),
    };
    struct err err = ERR_INIT;

    if (argc == 5 && strcmp(argv[1], "agent") == 0) {
        if (program_install(argv[3], argv[4], &err) == 0)
            return 0;
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    if (argc == 2 && strcmp(argv[1], "agent") == 0)
        return echo_agent();
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
