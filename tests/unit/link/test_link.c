/*
 * Links of the kind "local" against a small agent: this program itself, started again with the
 * argument "agent".
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "echo_agent.h"
#include "recluster/clock.h"
#include "recluster/link.h"
#include "recluster/rpc.h"

/* --- the tests --- */

struct answer {
    struct fixture *f;
    int count, progress;
    struct err err;
    json_t *result;
    const char *then; /* one of the things that on_answer() does next */
};

struct fixture {
    struct loop *loop;
    struct link *link;
    int open;  /* calls; the loop is stopped when none is left */
    int lost;  /* how often */
    int order; /* calls that had ended when it was lost */
    struct err why;
    bool calling;
};

static void on_lost(void *arg, const struct err *err)
{
    struct fixture *f = arg;
    f->lost++;
    f->why = *err;
    f->order = f->open;
}

static const struct link_events events = {on_lost};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct err err = ERR_INIT;
    const struct link_target target = {.host = "h1", .kind = "local"};

    f->loop = loop_new();
    *state = f;
    return link_open(f->loop, &target, &events, f, &f->link, &err);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    link_close(f->link);
    loop_free(f->loop);
    free(f);
    return 0;
}

static void call(struct answer *a, const char *method, json_t *params, int64_t timeout_ms);

static void on_answer(void *ctx, const json_t *result, const struct err *err)
{
    struct answer *a = ctx;
    struct fixture *f = a->f;
    const char *then = a->then;

    assert_false(f->calling);
    assert_int_equal(result == NULL, err != NULL);
    a->count++;
    if (err)
        a->err = *err;
    a->result = json_deep_copy(result);
    a->then = NULL;
    f->open--;
    if (then && strcmp(then, "close") == 0) {
        link_close(f->link);
        f->link = NULL;
    } else if (then) {
        json_decref(a->result);
        a->count--;
        call(a, then, NULL, 20000);
    }
    if (!f->open)
        loop_stop(f->loop);
}

static void on_progress(void *ctx, const json_t *params)
{
    struct answer *a = ctx;
    assert_int_equal(json_integer_value(json_object_get(params, "n")), a->progress);
    a->progress++;
}

static void call(struct answer *a, const char *method, json_t *params, int64_t timeout_ms)
{
    a->f->open++;
    a->f->calling = true;
    link_call(a->f->link, method, params, timeout_ms, on_answer, on_progress, a);
    a->f->calling = false;
}

static void run(struct fixture *f)
{
    struct err err = ERR_INIT;
    assert_int_equal(loop_run(f->loop, &err), 0);
}

static void an_answer_comes(void **state)
{
    struct answer a = {.f = *state};
    json_t *params = json_pack("{s:s}", "text", "a 'quote' and a\nnewline");

    call(&a, "echo", json_incref(params), 20000);
    run(a.f);
    assert_int_equal(a.count, 1);
    assert_true(json_equal(a.result, params));
    assert_int_equal(a.f->lost, 0);
    json_decref(a.result);
    json_decref(params);
}

static void an_error_comes_whole(void **state)
{
    struct answer a = {.f = *state};

    call(&a, "fail", NULL, 20000);
    run(a.f);
    assert_int_equal(a.err.code, ERR_CHECK);
    assert_string_equal(a.err.message, "no");
    assert_string_equal(a.err.hint, "Do something else.");
}

static void progress_goes_to_its_call(void **state)
{
    struct answer a[2] = {{.f = *state}, {.f = *state}};

    call(&a[0], "nothing", NULL, 2000);
    call(&a[1], "progress", NULL, 20000);
    run(a[0].f);
    assert_int_equal(a[1].progress, 3);
    assert_int_equal(a[0].progress, 0);
    json_decref(a[1].result);
}

static void many_calls_at_once(void **state)
{
    enum { COUNT = 50 };
    struct answer a[COUNT];

    for (int i = 0; i < COUNT; i++) {
        a[i] = (struct answer){.f = *state};
        call(&a[i], "echo", json_pack("{s:i}", "i", i), 20000);
    }
    run(*state);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(a[i].count, 1);
        assert_int_equal(json_integer_value(json_object_get(a[i].result, "i")), i);
        json_decref(a[i].result);
    }
}

static json_t *big(size_t bytes)
{
    char *text = xmalloc(bytes + 1);
    memset(text, 'x', bytes);
    text[bytes] = '\0';
    json_t *params = json_pack("{s:o}", "text", json_stringn(text, bytes));
    free(text);
    return params;
}

static void big_messages(void **state)
{
    struct answer a[3] = {{.f = *state}, {.f = *state}, {.f = *state}};
    json_t *params = big(8 * 1024 * 1024);

    for (int i = 0; i < 3; i++)
        call(&a[i], "echo", json_incref(params), 60000);
    run(*state);
    for (int i = 0; i < 3; i++) {
        assert_true(json_equal(a[i].result, params));
        json_decref(a[i].result);
    }
    json_decref(params);
}

static void too_big_a_request_is_refused_alone(void **state)
{
    struct answer a = {.f = *state}, b = {.f = *state};

    call(&a, "echo", big(RPC_LINE_MAX), 20000);
    call(&b, "echo", NULL, 20000);
    run(a.f);
    assert_int_equal(a.err.code, ERR_LIMIT);
    assert_non_null(strstr(a.err.message, "'echo'"));
    assert_int_equal(b.err.code, ERR_NONE);
    json_decref(b.result);
}

static void a_call_times_out_alone(void **state)
{
    struct answer a = {.f = *state}, b = {.f = *state};
    int64_t start_ms = clock_mono_ms();

    call(&a, "late", NULL, 100);
    call(&b, "echo", NULL, 20000);
    run(a.f);
    assert_int_equal(a.count, 1); /* the late answer is dropped */
    assert_int_equal(a.err.code, ERR_TIMEOUT);
    assert_string_equal(a.err.message, "host 'h1' did not answer 'late' within 0.1 s");
    assert_int_equal(b.err.code, ERR_NONE);
    assert_true(clock_mono_ms() - start_ms < 10000);
    assert_int_equal(a.f->lost, 0);
    json_decref(b.result);
}

static void a_lost_link_ends_all_calls(void **state)
{
    static const struct {
        const char *method, *says;
    } cases[] = {
        {"exit", "lost the link to host 'h1': the agent ended with status 3"},
        {"kill", "lost the link to host 'h1': the agent ended by signal 9 (Killed)"},
        {"hang-up", "lost the link to host 'h1': the agent closed the link"},
        {"garbage", "'Segmentation fault? Not really.'"},
        {"lie", "the agent answers a call that was never made"},
        {"endless", "a message is longer than"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture *f;
        struct answer a[4];
        if (i) {
            teardown(state);
            assert_int_equal(setup(state), 0);
        }
        f = *state;
        for (int k = 0; k < 4; k++)
            a[k] = (struct answer){.f = f};
        a[0].then = "echo"; /* tries again at once: gets the same error, not in link_call() */
        call(&a[0], "nothing", NULL, 60000);
        call(&a[1], cases[i].method, NULL, 60000);
        call(&a[2], "echo", NULL, 60000);
        run(f);
        call(&a[3], "echo", NULL, 60000); /* a lost link answers too */
        run(f);
        for (int k = 0; k < 4; k++) {
            assert_int_equal(a[k].count, 1);
            assert_int_equal(a[k].err.code, ERR_LINK);
            assert_non_null(strstr(a[k].err.message, "'h1'"));
            assert_non_null(strstr(a[k].err.message, cases[i].says));
        }
        assert_int_equal(f->lost, 1);
        assert_int_equal(f->order, 1); /* after the calls, but for the one that tried again */
        assert_string_equal(f->why.message, a[0].err.message);
    }
}

static void close_cancels(void **state)
{
    struct answer a = {.f = *state, .then = "close"}, b = {.f = *state};
    struct fixture *f = *state;

    call(&a, "echo", NULL, 20000);
    call(&b, "nothing", NULL, 20000);
    run(f);
    assert_int_equal(a.count, 1);
    assert_int_equal(b.count, 1);
    assert_int_equal(b.err.code, ERR_CANCELLED);
    assert_int_equal(f->lost, 0);
    assert_null(f->link);
    run(f); /* no job is left */
    json_decref(a.result);
}

static void close_at_once(void **state)
{
    struct answer a = {.f = *state, .then = "close"}, b = {.f = *state};
    struct fixture *f = *state;

    call(&a, "echo", NULL, 20000);
    call(&b, "echo", NULL, 20000);
    link_close(f->link);
    f->link = NULL;
    assert_int_equal(a.err.code, ERR_CANCELLED);
    assert_int_equal(b.err.code, ERR_CANCELLED);
}

static void the_loop_may_go_first(void **state)
{
    struct fixture *f = *state;
    struct answer a = {.f = f}, b = {.f = f};

    call(&a, "nothing", NULL, 20000);
    call(&b, "nothing", NULL, 20000);
    loop_free(f->loop);
    assert_int_equal(a.err.code, ERR_CANCELLED);
    assert_int_equal(b.err.code, ERR_CANCELLED);
    link_close(f->link);
    f->link = NULL;
    f->loop = loop_new();
}

static void what_cannot_be_opened(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    struct link_target target = {.host = "h2", .kind = "carrier-pigeon"};
    struct link *link = NULL;

    assert_int_equal(link_open(f->loop, &target, &events, f, &link, &err), -1);
    assert_int_equal(err.code, ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "'carrier-pigeon'"));
    target.kind = "local";
    target.program = "/nonexistent/recluster";
    assert_int_equal(link_open(f->loop, &target, &events, f, &link, &err), -1);
    assert_non_null(strstr(err.message, "'h2'"));
    assert_non_null(strstr(err.message, "'/nonexistent/recluster'"));
    assert_null(link);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(an_answer_comes),
        TEST(an_error_comes_whole),
        TEST(progress_goes_to_its_call),
        TEST(many_calls_at_once),
        TEST(big_messages),
        TEST(too_big_a_request_is_refused_alone),
        TEST(a_call_times_out_alone),
        TEST(a_lost_link_ends_all_calls),
        TEST(close_cancels),
        TEST(close_at_once),
        TEST(the_loop_may_go_first),
        TEST(what_cannot_be_opened),
    };
    if (argc == 2 && strcmp(argv[1], "agent") == 0)
        return echo_agent();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
