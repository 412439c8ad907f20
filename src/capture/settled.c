#include <poll.h>
#include <string.h>

#include "recluster/capture.h"
#include "recluster/clock.h"
#include "recluster/digest.h"

/* Between two answers: a failover's news need a moment to get around. */
enum { BETWEEN_MS = 250 };

int capture_settled(const struct live_params *params, int64_t wait_ms, struct live **ret,
    const char **ret_unsettled, struct err *err)
{
    int64_t give_up_at_ms = clock_mono_ms() + wait_ms;
    char last[DIGEST_HEX_MAX] = "";

    for (;;) {
        char digest[DIGEST_HEX_MAX];
        struct live *live;
        if (live_ask(params, &live, err) < 0)
            return -1;
        const char *unsettled = live_unsettled(live);
        live_digest(live, digest);
        bool same = strcmp(digest, last) == 0, late = clock_mono_ms() >= give_up_at_ms;
        if (same && (!unsettled || late)) {
            *ret = live;
            *ret_unsettled = unsettled;
            return 0;
        }
        if (late && *last) {
            err_set(err, ERR_BUSY, "the cluster changes all the time%s%s", unsettled ? ": " : "",
                unsettled ? unsettled : "");
            live_free(live);
            return err_hint(err, "Wait until it is settled, or wait longer: --wait TIME");
        }
        strcpy(last, digest);
        live_free(live);
        poll(NULL, 0, BETWEEN_MS);
    }
}
