#ifndef TEST_SHARD_WORLD_H
#define TEST_SHARD_WORLD_H

/*
 * What the tests of a shard's methods share: a base_dir of each test's own, and a server as the
 * source of its backups, all on a loopback address; calls of the methods; their usual parameters.
 * The params of a call are always taken over.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "method.h"
#include "recluster/buf.h"
#include "recluster/digest.h"
#include "redis.h"
#include "server.h"

#define RECOVERY "0123456789abcdef"
#define PASSWORD "client's \"pass\" word"
#define ADDR "127.0.1.71"

enum { DEADLINE_MS = 30000, KEYS = 5000 }; /* the source has one more, in database 3 */

extern char *base_dir; /* long, with a quote, a space and a newline in it */
extern char *source_dir;
extern int source_port;
extern unsigned progress_count;

#define COMMAND(r, ...)                                                                            \
    do {                                                                                           \
        struct err command_err = ERR_INIT;                                                         \
        if (redis_command((r), NULL, &command_err, __VA_ARGS__) < 0)                               \
            fail_msg("%s", command_err.message);                                                   \
    } while (0)

/* A port that is free now, with the bus port of a cluster node. */
int free_port(void);
int call(const struct agent_method *method, json_t *params, json_t **ret, struct err *err);
json_t *must(const struct agent_method *method, json_t *params);
void must_do(const struct agent_method *method, json_t *params);
/* Fails with the code, and the message has all of `text`. */
void must_fail(
    const struct agent_method *method, json_t *params, enum err_code code, const char *text);
json_int_t number(const json_t *object, const char *name);
bool truth(const json_t *object, const char *name);
const char *text(const json_t *object, const char *name);
char *shard_path(const char *dir, const char *name);
void read_shard_file(const char *dir, const char *name, struct buf *ret);
struct redis *client(int port, const char *password);
int64_t keys_at(int port, const char *password);
void await_keys(int port, int64_t keys);
json_t *prepare_params(const char *dir, int port);
json_t *load_params(const char *dir, const char *as, json_int_t keys, json_int_t expires);
json_t *configure_params(const char *dir);
void digest_of_file(const char *dir, const char *name, char hex[DIGEST_HEX_MAX]);
json_t *dir_params(const char *dir);
json_t *password_params(const char *dir, const char *password);
json_t *fetch_params(const char *dir, const char *as); /* of the source's dump.rdb */
void save_source(void);
json_t *prove_params(
    const char *dir, int port, const char *password, const char *role, json_t *samples);
/* Has the source save what it holds, as the verified file of a shard. */
void place_backup(const char *dir, const char *as);
/* Of a test: servers and folders come and go with it. */
int setup(void **state);
int teardown(void **state);
json_t *replica_params(const char *dir, int port, int primary_port);
json_t *attach_params(const char *dir, int primary_port);
void await_link(const char *dir);

#define SHARD_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
/* The exit status of a program of tests: 77, skipped, where no server is installed. */
#define RUN_SHARD_TESTS(tests)                                                                     \
    (access("/usr/bin/redis-server", X_OK) < 0 ? 77 : cmocka_run_group_tests(tests, NULL, NULL))

#endif
