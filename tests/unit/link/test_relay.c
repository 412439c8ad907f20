#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "recluster/child.h"
#include "recluster/json.h"
#include "recluster/memory_limit.h"
#include "recluster/relay.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static int take_too_much(void *arg, int fd)
{
    const struct relay_read *read = arg;

    memory_limit_name("'%s'", read->name);
    relay_tell_memory_limit(fd, read);
    free(xmalloc(memory_limit_of_reader()));
    return 0;
}

static void a_process_without_memory_says_so(void **state)
{
    struct relay_read read = {.id = 7, .stream = 3, .name = "bomb.rdb"};
    struct rpc_input in = RPC_INPUT_INIT;
    struct rpc_message m;
    struct err err = ERR_INIT, failure = ERR_INIT;
    pid_t pid;
    int fd;

    (void)state;
    if (SANITIZED)
        skip();
    assert_int_equal(child_fork(take_too_much, &read, &pid, &fd, &err), 0);
    assert_int_equal(relay_await(fd, &in, 10000, &m, &err), 0);
    assert_string_equal(m.method, "end");
    assert_int_equal(json_int(m.payload, "id", 0), 7);
    assert_int_equal(json_int(m.payload, "stream", 0), 3);
    err_from_json(json_object_get(m.payload, "error"), &failure);
    assert_int_equal(failure.code, ERR_LIMIT);
    assert_non_null(strstr(failure.message, "'bomb.rdb' takes more memory to read than the limit"));
    rpc_message_release(&m);
    rpc_input_release(&in);
    child_kill(pid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_process_without_memory_says_so)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
