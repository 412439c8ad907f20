/* What the hosts answer: their facts, the files on their disks, measurements, whom they reach. */

#include <stdlib.h>

#include "disks.h"
#include "questions.h"
#include "recluster/host_link.h"
#include "recluster/json.h"
#include "recluster/old_cluster.h"

enum {
    PROBE_MS = 60 * 1000,
    LIST_MS = 60 * 1000,
    MEASURE_MS = 90 * 1000,
    KNOCK_CALL_MS = 60 * 1000,
    KNOCKING_HOSTS = 5
};

/* One host: hello, probe, its files, and measure if requested. Then the link is closed. */
struct host_probe {
    const struct host *host;
    struct survey *survey;
    bool measure, only_files;
    bool knocks; /* it asks the old cluster too */
    struct link *link;
    json_t *facts;
    struct err *error;
};

static void probe_over(struct host_probe *p, const struct err *error)
{
    struct link *link = p->link;

    if (error && p->error->code == ERR_NONE && !p->facts)
        *p->error = *error;
    p->link = NULL;
    link_close(link);
}

/* A failed measurement counts like none. */
static void on_measure(void *ctx, const json_t *result, const struct err *error)
{
    struct host_probe *p = ctx;

    measure_take(p->facts, result, error);
    probe_over(p, NULL);
}

static void measure_or_end(struct host_probe *p);

/* Hosts that cannot reach any node of the old cluster prove nothing by its silence. */
static void on_knock(void *ctx, const json_t *result, const struct err *error)
{
    struct host_probe *p = ctx;

    (void)error;
    if (result && p->facts)
        json_object_set(p->facts, "knocks", json_object_get(result, "answers"));
    p->knocks = false;
    measure_or_end(p);
}

static void measure_or_end(struct host_probe *p)
{
    if (p->knocks && p->facts) {
        link_call(p->link, "knock", old_cluster_questions(p->survey->old), KNOCK_CALL_MS, on_knock,
            NULL, p);
        return;
    }
    if (p->measure)
        link_call(p->link, "measure",
            measure_params(p->survey, (size_t)(p->host - p->survey->hosts->hosts)), MEASURE_MS,
            on_measure, NULL, p);
    else
        probe_over(p, NULL);
}

static void on_files(void *ctx, const json_t *result, const struct err *error)
{
    struct host_probe *p = ctx;

    disks_take(p->survey, p->host, result, error);
    measure_or_end(p);
}

static void ask_for_files(struct host_probe *p, json_t *paths)
{
    link_call(
        p->link, "list_files", json_pack("{s:o}", "paths", paths), LIST_MS, on_files, NULL, p);
}

static void on_probe(void *ctx, const json_t *result, const struct err *error)
{
    struct host_probe *p = ctx;
    json_t *paths = result ? disks_paths_of_host(p->survey, p->host) : NULL;

    if (result)
        p->facts = json_deep_copy(result);
    if (paths)
        ask_for_files(p, paths);
    else if (result)
        measure_or_end(p);
    else
        probe_over(p, error);
}

static void on_ready(void *arg)
{
    struct host_probe *p = arg;

    if (p->only_files)
        ask_for_files(p, disks_paths_of_host(p->survey, p->host));
    else
        link_call(
            p->link, "probe", host_questions(p->survey, p->host), PROBE_MS, on_probe, NULL, p);
}

static void on_failed(void *arg, const struct err *err)
{
    probe_over(arg, err);
}

/* Whether the facts of the host and, if they are needed, of its files are already there. */
static bool wants_only_files(const struct survey *survey, size_t host)
{
    json_t *paths = survey->host_inputs[host].facts
                        ? disks_paths_of_host(survey, survey->host_inputs[host].host)
                        : NULL;

    json_decref(paths);
    return paths != NULL;
}

int survey_probe_hosts(
    struct survey *survey, const struct survey_request *request, struct state *st, struct err *err)
{
    size_t count = survey->hosts->count;
    struct host_probe *probes = xcalloc(count, sizeof(*probes));
    struct loop *loop = loop_new();
    struct host_links links = {st, request->accept_new_host_keys};
    bool offline = json_flag(survey->options, "offline");
    int knocking = 0;

    for (size_t i = 0; i < count; i++) {
        const struct host *h = &survey->hosts->hosts[i];
        const struct host_opening opening = {
            .target = {.host = h->name, .kind = h->link, .spec = h->spec},
            .ready = on_ready,
            .failed = on_failed,
            .arg = &probes[i],
        };
        probes[i] = (struct host_probe){.host = h,
            .survey = survey,
            .measure = request->measure,
            .only_files = wants_only_files(survey, i),
            .error = &survey->host_errors[i]};
        if (offline || survey->host_inputs[i].without || survey->host_inputs[i].error ||
            (survey->host_inputs[i].facts && !probes[i].only_files))
            continue;
        probes[i].knocks = survey->old && knocking < KNOCKING_HOSTS;
        if (host_link_open(&links, loop, &opening, &probes[i].link, probes[i].error) == 0)
            knocking++;
    }
    if (!offline)
        disks_ask_old_nodes(survey, loop);
    int rc = loop_run(loop, err);
    for (size_t i = 0; i < count; i++) {
        if (survey->host_inputs[i].facts || survey->host_inputs[i].error)
            continue;
        survey->host_inputs[i].facts = probes[i].facts;
        survey->host_inputs[i].error = probes[i].facts ? NULL : probes[i].error;
    }
    loop_free(loop);
    free(probes);
    return rc;
}
