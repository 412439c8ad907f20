#include <string.h>

#include "doc.h"
#include "plan_facts.h"
#include "plan_text.h"
#include "recluster/human.h"
#include "recluster/json.h"

static const char *rate(double bytes_per_second, char *text)
{
    return human_bytes((uint64_t)(bytes_per_second > 0 ? bytes_per_second : 0), text);
}

static void table_text(struct text *t, const json_t *stages)
{
    static const char *const heads[] = {"STAGE", "BYTES", "ABOUT"};
    struct text_table table;
    char text[HUMAN_TEXT_MAX];
    double total_s = 0;
    size_t i;
    json_t *stage;

    text_table_init(&table, "Lrr");
    for (i = 0; i < ARRAY_SIZE(heads); i++)
        text_table_cell(&table, TEXT_PLAIN, "%s", heads[i]);
    json_array_foreach (stages, i, stage) {
        double seconds = json_number(stage, "seconds", 0);
        int64_t bytes = json_int(stage, "bytes", 0);
        text_table_cell(&table, TEXT_PLAIN, "%zu %s", i + 1, json_text(stage, "stage", "?"));
        text_table_cell(
            &table, TEXT_PLAIN, "%s", bytes > 0 ? human_bytes((uint64_t)bytes, text) : "-");
        text_table_cell(&table, TEXT_PLAIN, "%s", human_duration((int64_t)(seconds * 1000), text));
        total_s += seconds;
    }
    text_table_cell(&table, TEXT_PLAIN, "together, at most");
    text_table_cell(&table, TEXT_PLAIN, "-");
    text_table_cell(&table, TEXT_PLAIN, "%s", human_duration((int64_t)(total_s * 1000), text));
    text_table_print(&table, t, 2);
}

/* The slowest host that was measured; 0: none. */
static double slowest(const json_t *hosts, const char *what)
{
    double least = 0;
    size_t i;
    json_t *host;

    json_array_foreach (hosts, i, host) {
        double here = json_number(json_object_get(host, "measured"), what, 0);
        if (here > 0 && (least <= 0 || here < least))
            least = here;
    }
    return least;
}

static void measured_text(struct text *t, const json_t *plan)
{
    const json_t *hosts = json_object_get(plan, "hosts");
    double network = slowest(hosts, "network"), writes = slowest(hosts, "disk_write");
    int64_t count = json_int(json_object_get(plan, "rates"), "measured_hosts", 0);
    char at[HUMAN_TEXT_MAX], written[HUMAN_TEXT_MAX], read[HUMAN_TEXT_MAX];

    text_wrap(t, TEXT_PLAIN, "  ",
        "Measured by %lld of %zu hosts, at the slowest: %s%s%sdisks write %s/s and read %s/s.",
        (long long)count, json_array_size(hosts), network > 0 ? "backups come at " : "",
        network > 0 ? rate(network, at) : "", network > 0 ? "/s, " : "", rate(writes, written),
        rate(slowest(hosts, "disk_read"), read));
}

void plan_text_stages(struct text *t, const json_t *plan)
{
    const json_t *rates = json_object_get(plan, "rates"), *hosts = json_object_get(plan, "hosts");
    bool stored = strcmp(json_text(rates, "source", ""), "stored") == 0;
    bool measured = json_int(rates, "measured_hosts", 0) > 0;
    char transfer[HUMAN_TEXT_MAX], load[HUMAN_TEXT_MAX];

    text_heading(t, "Stages");
    table_text(t, json_object_get(plan, "stages"));
    if (!json_has(rates, "load"))
        return;
    rate(json_number(rates, "transfer", 0), transfer);
    rate(json_number(rates, "load", 0), load);
    if (measured)
        measured_text(t, plan);
    if (measured && slowest(hosts, "network") > 0)
        text_wrap(t, TEXT_PLAIN, "  ",
            "Loading can't be measured without the data: a server loads %s/s, %s.", load,
            stored ? "as in earlier recoveries from this machine" : "which is assumed");
    else
        text_wrap(t, TEXT_PLAIN, "  ", "By rates %s: %s/s transferred, %s/s loaded by a server.",
            stored ? "of earlier recoveries from this machine" : "that are assumed", transfer,
            load);
}
