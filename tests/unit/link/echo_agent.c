#include "echo_agent.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "recluster/file.h"
#include "recluster/rpc.h"

static void say(struct buf *out)
{
    struct err err = ERR_INIT;
    if (file_write_all(STDOUT_FILENO, out->data, out->len, "output", &err) < 0)
        _exit(9);
    buf_clear(out);
}

static void serve(const struct rpc_message *m, struct buf *out)
{
    struct err error = ERR_INIT;

    if (strcmp(m->method, "echo") == 0) {
        rpc_add_result(out, m->id, json_incref(m->payload));
    } else if (strcmp(m->method, "fail") == 0) {
        err_set(&error, ERR_CHECK, "no");
        err_hint(&error, "Do something else.");
        rpc_add_error(out, m->id, RPC_FAILED, &error);
    } else if (strcmp(m->method, "progress") == 0) {
        for (int i = 0; i < 3; i++)
            rpc_add_notification(out, "progress", json_pack("{s:I, s:i}", "id", m->id, "n", i));
        rpc_add_notification(out, "progress", json_pack("{s:i}", "id", 999)); /* nobody's */
        rpc_add_notification(out, "weather", NULL);
        rpc_add_result(out, m->id, NULL);
    } else if (strcmp(m->method, "late") == 0) {
        usleep(300000);
        rpc_add_result(out, m->id, NULL);
    } else if (strcmp(m->method, "garbage") == 0) {
        buf_adds(out, "Segmentation fault? Not really.\n");
    } else if (strcmp(m->method, "lie") == 0) {
        rpc_add_result(out, m->id + 1000, NULL);
    } else if (strcmp(m->method, "endless") == 0) {
        char spaces[65536];
        memset(spaces, ' ', sizeof(spaces));
        while (write(STDOUT_FILENO, spaces, sizeof(spaces)) > 0)
            ;
    } else if (strcmp(m->method, "exit") == 0) {
        _exit(3);
    } else if (strcmp(m->method, "kill") == 0) {
        raise(SIGKILL);
    } else if (strcmp(m->method, "hang-up") == 0) {
        close(STDOUT_FILENO);
        pause();
    } /* else no answer */
    say(out);
}

int echo_agent(void)
{
    struct rpc_input in = RPC_INPUT_INIT;
    struct buf out = BUF_INIT;
    struct err err = ERR_INIT;
    char chunk[65536];

    for (ssize_t n; (n = read(STDIN_FILENO, chunk, sizeof(chunk))) > 0;) {
        struct rpc_message m;
        int rc = 0;
        buf_add(&in.buf, chunk, (size_t)n);
        while ((rc = rpc_take(&in, &m, &err)) > 0) {
            serve(&m, &out);
            rpc_message_release(&m);
        }
        if (rc < 0)
            return 1;
    }
    rpc_input_release(&in);
    buf_release(&out);
    return 0;
}
