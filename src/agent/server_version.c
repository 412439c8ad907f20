#include "server_version.h"

#include <stdio.h>
#include <string.h>

#include "recluster/buf.h"
#include "recluster/child.h"
#include "recluster/json.h"

static bool parse(const char *text, struct server_version *ret)
{
    snprintf(ret->text, sizeof(ret->text), "%.*s", (int)strcspn(text, " \r\n"), text);
    return sscanf(ret->text, "%d.%d", &ret->major, &ret->minor) == 2;
}

int server_version_ask(const char *server, struct server_version *ret, struct err *err)
{
    struct buf said = BUF_INIT;
    int rc = child_run((const char *const[]){server, "--version", NULL}, 10000, 4096, &said, err);

    if (rc == 0) {
        *ret = (struct server_version){.valkey = strstr(said.data, "Valkey") != NULL};
        const char *version = strstr(said.data, "v=");
        if ((!ret->valkey && !strstr(said.data, "Redis")) || !version || !parse(version + 2, ret)) {
            rc = err_set(err, ERR_UNSUPPORTED,
                "'%s' is neither a Redis nor a Valkey server: it says '%.*s'", server,
                (int)strcspn(said.data, "\n"), said.data);
            err_hint(err, "Name the server program as \"server\" of this host in the hosts file.");
        }
    }
    buf_release(&said);
    return rc;
}

void server_version_of_record(const json_t *record, struct server_version *ret)
{
    const char *kind = json_text(record, "server_kind", NULL);
    const char *version = json_text(record, "server_version", NULL);

    *ret = (struct server_version){.valkey = kind && strcmp(kind, "valkey") == 0};
    if (version)
        parse(version, ret);
}

bool server_version_at_least(const struct server_version *version, int major, int minor)
{
    if (version->valkey)
        return major < 7 || (major == 7 && minor <= 2);
    return version->major > major || (version->major == major && version->minor >= minor);
}
