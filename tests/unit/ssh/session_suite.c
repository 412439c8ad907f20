/*
 * What a session must be able to do, on a real sshd (tests/system/test_ssh_session.py):
 *
 *     session_suite HOST PORT USER IDENTITY KNOWN_HOSTS
 *
 * Prints a line for each check that holds.
 */

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/clock.h"
#include "recluster/known_hosts.h"
#include "recluster/mem.h"
#include "recluster/ssh.h"

enum {
    LATE_MS = 20 * 1000,
    BIG_BYTES = 8 << 20,
    STDERR_BYTES = 5 << 20, /* more than a channel's window */
    ROUNDS = 2000,
    SHORT_MS = 400,
    TURNS_OF_A_SILENT_ONE = 5,
};

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            printf("FAILED %s, line %d: %s (%s)\n", __func__, __LINE__, #what, err.message);       \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static struct ssh_target target;

/* Waits for what the session waits for, and no longer than until then. */
static void sleep_on(const struct ssh *s, int64_t until_ms)
{
    struct wait wait = {.deadline_ms = until_ms};
    struct pollfd fds[WAIT_FDS_MAX];

    ssh_wait(s, &wait);
    for (int i = 0; i < wait.fd_count; i++)
        fds[i] = (struct pollfd){.fd = wait.fds[i].fd, .events = wait.fds[i].events};
    int64_t left_ms = wait.deadline_ms - clock_mono_ms();
    poll(fds, (nfds_t)wait.fd_count, left_ms > 0 ? (int)left_ms : 0);
}

static int64_t soon(void)
{
    return clock_mono_ms() + LATE_MS;
}

static struct ssh *logged_in(void)
{
    struct err err = ERR_INIT;
    struct ssh *s = NULL;
    int rc;

    CHECK(ssh_open(&target, &s, &err) == 0);
    while ((rc = ssh_connect(s, &err)) == SSH_WAIT)
        sleep_on(s, soon());
    CHECK(rc == 0);
    return s;
}

static int start(struct ssh *s, enum ssh_service service, const char *name, struct err *err)
{
    int rc;

    while ((rc = ssh_start(s, service, name, err)) == SSH_WAIT)
        sleep_on(s, soon());
    return rc;
}

static struct ssh *running(const char *command)
{
    struct err err = ERR_INIT;
    struct ssh *s = logged_in();

    CHECK(start(s, SSH_COMMAND, command, &err) == 0);
    return s;
}

/* All that comes up to the end; the last result of ssh_read(). */
static ssize_t read_all(struct ssh *s, struct buf *all, struct err *err)
{
    const char *data;
    ssize_t n;

    for (int64_t until_ms = soon(); (n = ssh_read(s, &data, SIZE_MAX, err)) != 0;) {
        if (n > 0)
            buf_add(all, data, (size_t)n);
        else if (n != SSH_WAIT || clock_mono_ms() > until_ms)
            return n;
        else
            sleep_on(s, until_ms);
    }
    return n;
}

static void how_it_ended(struct ssh *s, struct err *why)
{
    while (ssh_how_it_ended(s, why) == SSH_WAIT)
        sleep_on(s, soon());
}

/* --- the checks --- */

static void bytes_go_both_ways_at_once(void)
{
    struct err err = ERR_INIT;
    struct ssh *s = running("cat");
    char *bytes = xmalloc(BIG_BYTES);
    struct buf back = BUF_INIT;
    size_t sent = 0;

    for (size_t i = 0; i < BIG_BYTES; i++)
        bytes[i] = (char)(i * 2654435761u >> 24);
    for (int64_t until_ms = soon(); back.len < BIG_BYTES;) {
        const char *data;
        ssize_t w =
            sent < BIG_BYTES ? ssh_write(s, bytes + sent, BIG_BYTES - sent, &err) : SSH_WAIT;
        ssize_t r = ssh_read(s, &data, 100000, &err);
        CHECK((w > 0 || w == SSH_WAIT) && (r > 0 || r == SSH_WAIT) && clock_mono_ms() < until_ms);
        sent += w > 0 ? (size_t)w : 0;
        if (r > 0)
            buf_add(&back, data, (size_t)r);
        if (w == SSH_WAIT && r == SSH_WAIT)
            sleep_on(s, until_ms);
    }
    CHECK(memcmp(back.data, bytes, BIG_BYTES) == 0);
    buf_release(&back);
    free(bytes);
    ssh_close(s);
}

static void the_end_of_the_input_is_seen(void)
{
    struct err err = ERR_INIT;
    struct ssh *s = running("wc -c");
    struct buf out = BUF_INIT;
    char zeroes[1000] = "";

    for (int i = 0; i < 1000; i++)
        while (ssh_write(s, zeroes, sizeof(zeroes), &err) == SSH_WAIT)
            sleep_on(s, soon());
    while (ssh_end_input(s, &err) == SSH_WAIT)
        sleep_on(s, soon());
    CHECK(read_all(s, &out, &err) == 0 && atoi(out.data) == 1000 * 1000);
    buf_release(&out);
    ssh_close(s);
}

static void standard_error_is_kept_and_never_in_the_way(void)
{
    struct err err = ERR_INIT;
    AUTO_FREE char *command =
        xasprintf("head -c %d /dev/zero >&2; echo last >&2; sleep 0.2; echo out", STDERR_BYTES);
    struct ssh *s = running(command);
    struct buf out = BUF_INIT;

    CHECK(read_all(s, &out, &err) == 0 && strcmp(out.data, "out\n") == 0);
    const struct buf *errors = ssh_errors(s);
    CHECK(errors->len == SSH_ERRORS_MAX);
    CHECK(memcmp(errors->data + errors->len - 5, "last\n", 5) == 0);
    buf_release(&out);
    ssh_close(s);
}

/* Whatever is taken in on behalf of the one stream, nothing of the other waits for the next packet. */
static void questions_and_answers_on_both_streams(void)
{
    struct err err = ERR_INIT;
    struct ssh *s = running("while read x; do echo error >&2; echo $x; done");
    int64_t until_ms = soon();

    for (int i = 0; i < ROUNDS; i++) {
        struct buf answer = BUF_INIT;
        CHECK(ssh_write(s, "hello\n", 6, &err) == 6);
        while (answer.len < 6) {
            const char *data;
            ssize_t n = ssh_read(s, &data, 6, &err);
            CHECK((n > 0 || n == SSH_WAIT) && clock_mono_ms() < until_ms);
            if (n > 0)
                buf_add(&answer, data, (size_t)n);
            else
                sleep_on(s, until_ms);
        }
        CHECK(strcmp(answer.data, "hello\n") == 0);
        buf_release(&answer);
    }
    ssh_close(s);
}

static void it_is_known_how_a_command_ended(void)
{
    static const struct {
        const char *command, *says;
    } cases[] = {{"exit 7", "status 7"}, {"true", "status 0"}, {"kill -9 $$", "signal KILL"}};
    struct err err = ERR_INIT;
    struct ssh *s = logged_in();

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct buf out = BUF_INIT;
        struct err why = ERR_INIT;
        CHECK(start(s, SSH_COMMAND, cases[i].command, &err) == 0);
        CHECK(read_all(s, &out, &err) == 0);
        how_it_ended(s, &why);
        err = why;
        CHECK(strcmp(why.message, cases[i].says) == 0);
        buf_release(&out);
    }
    ssh_close(s);
}

static void a_service_that_is_not_there_is_no_end(void)
{
    struct err err = ERR_INIT;
    struct ssh *s = logged_in();
    struct buf out = BUF_INIT;

    CHECK(start(s, SSH_SUBSYSTEM, "nothing", &err) == -1 && err.code == ERR_PROTOCOL);
    CHECK(start(s, SSH_COMMAND, "echo hello", &err) == 0);
    CHECK(read_all(s, &out, &err) == 0 && strcmp(out.data, "hello\n") == 0);
    buf_release(&out);
    ssh_close(s);
}

static void bytes_before_a_cut_are_not_lost(void)
{
    struct err err = ERR_INIT;
    struct ssh *s = running("printf before; sleep 0.3; kill -9 $PPID; sleep 5");
    struct buf out = BUF_INIT;

    CHECK(read_all(s, &out, &err) == -1 && err.code == ERR_NETWORK);
    CHECK(strcmp(out.data, "before") == 0);
    buf_release(&out);
    ssh_close(s);
}

static void waiting_costs_nothing(void)
{
    struct err err = ERR_INIT;
    struct ssh *s = running("sleep 20");
    const char *data;
    int turns = 0;

    for (int64_t until_ms = clock_mono_ms() + SHORT_MS; clock_mono_ms() < until_ms; turns++) {
        CHECK(ssh_read(s, &data, 1, &err) == SSH_WAIT);
        sleep_on(s, until_ms);
    }
    CHECK(turns <= TURNS_OF_A_SILENT_ONE);
    ssh_close(s);
}

static void a_reader_that_stops_makes_writing_wait(void)
{
    struct err err = ERR_INIT;
    struct ssh *s = running("sleep 20");
    char *zeroes = xcalloc(1 << 20, 1);
    size_t taken = 0;
    ssize_t n;
    int turns = 0;

    for (int64_t until_ms = soon(); clock_mono_ms() < until_ms;) {
        n = ssh_write(s, zeroes, 1 << 20, &err);
        CHECK(n > 0 || n == SSH_WAIT);
        taken += n > 0 ? (size_t)n : 0;
        CHECK(taken < 64 << 20);
        if (n != SSH_WAIT)
            continue;
        if (turns++ == 0)
            until_ms = clock_mono_ms() + SHORT_MS;
        sleep_on(s, until_ms);
    }
    CHECK(turns > 0 && turns < 100);
    free(zeroes);
    ssh_close(s);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } checks[] = {
#define CHECK_OF(name) {#name, name}
        CHECK_OF(bytes_go_both_ways_at_once),
        CHECK_OF(the_end_of_the_input_is_seen),
        CHECK_OF(standard_error_is_kept_and_never_in_the_way),
        CHECK_OF(questions_and_answers_on_both_streams),
        CHECK_OF(it_is_known_how_a_command_ended),
        CHECK_OF(a_service_that_is_not_there_is_no_end),
        CHECK_OF(bytes_before_a_cut_are_not_lost),
        CHECK_OF(waiting_costs_nothing),
        CHECK_OF(a_reader_that_stops_makes_writing_wait),
    };
    struct buf known = BUF_INIT;
    struct err err = ERR_INIT;

    if (argc != 6)
        return fprintf(stderr, "usage: session_suite HOST PORT USER IDENTITY KNOWN_HOSTS\n"), 2;
    CHECK(known_hosts_read(argv[5], &known, &err) == 0);
    target = (struct ssh_target){.host = argv[1],
        .port = atoi(argv[2]),
        .answer_ms = LATE_MS,
        .known = known.data,
        .login = {.user = argv[3], .identity = argv[4]}};
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
        checks[i].run();
        printf("ok %s\n", checks[i].name);
        fflush(stdout);
    }
    buf_release(&known);
    return 0;
}
