/* A store whose bytes another process sends: see store_open_relay(). */

#include <stdlib.h>

#include "handle.h"

struct relayed {
    struct store_relay relay;
    char *label;
};

static void relay_close(void *handle)
{
    struct relayed *r = handle;

    if (r->relay.close)
        r->relay.close(r->relay.arg);
    free(r->label);
    free(r);
}

static int relay_list(void *handle, struct store_list *list, struct err *err)
{
    const struct relayed *r = handle;

    (void)list;
    return err_set(err, ERR_UNSUPPORTED, "the files of '%s' can't be listed from here", r->label);
}

static int relay_read(void *handle, const char *name, int64_t offset, int64_t length,
    const struct store_receiver *receiver, struct err *err)
{
    const struct relayed *r = handle;
    return r->relay.read(r->relay.arg, name, offset, length, receiver, err);
}

static int64_t relay_retry_after_ms(const void *handle)
{
    const struct relayed *r = handle;
    return r->relay.retry_after_ms(r->relay.arg);
}

static const struct store_driver relay_driver = {
    .close = relay_close,
    .list = relay_list,
    .read = relay_read,
    .retry_after_ms = relay_retry_after_ms,
};

struct store *store_open_relay(const char *label, const struct store_relay *relay)
{
    struct relayed *r = xmalloc(sizeof(*r));
    struct store *s = xcalloc(1, sizeof(*s));

    *r = (struct relayed){.relay = *relay, .label = xstrdup(label)};
    s->driver = &relay_driver;
    s->handle = r;
    s->label = xstrdup(label);
    return s;
}
