/* knock: which of these addresses can be reached from this host. */

#include "recluster/knock.h"
#include "recluster/json.h"

#include <stdlib.h>

#include "method.h"

/* Silence proves nothing, so a short wait is enough. */
enum { ADDRESSES_MAX = 10000, HOST_KNOCK_MS = 2000 };

static int run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    const json_t *addresses = json_object_get(params, "addresses"), *address;
    size_t count = json_array_size(addresses), i;
    json_t *answers = json_array();

    (void)call;
    if (count > ADDRESSES_MAX) {
        json_decref(answers);
        return err_set(err, ERR_LIMIT, "%zu addresses, more than %d", count, ADDRESSES_MAX);
    }
    struct knock *knocks = xcalloc(count + 1, sizeof(*knocks));
    json_array_foreach (addresses, i, address) {
        const char *addr = json_text(address, "addr", NULL);
        knocks[i].addr = addr ? addr : "";
        knocks[i].port = (int)json_int(address, "port", 0);
    }
    int rc = knock_all(knocks, count, HOST_KNOCK_MS, err);
    for (i = 0; i < count; i++)
        json_array_append_new(answers, json_string(knock_answer_name(knocks[i].answer)));
    free(knocks);
    if (rc == 0)
        *ret = json_pack("{s:O}", "answers", answers);
    json_decref(answers);
    return rc;
}

const struct agent_method agent_knock = {.name = "knock", .run = run};
