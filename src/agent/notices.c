#include "notices.h"

#include <errno.h>
#include <sys/socket.h>

enum { READ_BYTES = 4096 };

static enum job_step end(struct notices *n, struct err *err)
{
    n->on_end(n->arg, err);
    return JOB_DONE;
}

/* The channel's descriptor blocks, jobs of a loop must not. */
static enum job_step step(void *arg, struct wait *wait, struct err *err)
{
    struct notices *n = arg;
    struct agent_channel *channel = agent_channel(n->call);
    char chunk[READ_BYTES];
    struct rpc_message m;

    for (;;) {
        int rc = rpc_take(&channel->in, &m, err);
        if (rc > 0) {
            rc = m.kind == RPC_NOTIFICATION ? n->on_notice(n->arg, &m, err) : 0;
            rpc_message_release(&m);
            if (rc == 0)
                continue;
        }
        if (rc < 0)
            return end(n, err);
        ssize_t got = recv(channel->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            wait_fd(wait, channel->fd, POLLIN);
            return JOB_WAIT;
        }
        if (got <= 0) {
            err_set(err, ERR_LINK, "the operator's side is gone");
            return end(n, err);
        }
        buf_add(&channel->in.buf, chunk, (size_t)got);
    }
}

void notices_listen(struct notices *n, struct loop *loop, struct agent_call *call,
    int (*on_notice)(void *arg, const struct rpc_message *m, struct err *err),
    void (*on_end)(void *arg, struct err *err), void *arg)
{
    static const struct job_ops ops = {"the operator's side", step, NULL};

    *n = (struct notices){call, on_notice, on_end, arg};
    loop_add(loop, &ops, n);
}
