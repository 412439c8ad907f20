#include <stdlib.h>
#include <string.h>

#include "doc.h"
#include "plan_facts.h"
#include "plan_text.h"
#include "recluster/human.h"
#include "recluster/json.h"

static const char *bytes(int64_t n, char *text)
{
    return human_bytes((uint64_t)(n > 0 ? n : 0), text);
}

static void measured_text(struct text *t, const json_t *measured)
{
    double network = json_number(measured, "network", 0),
           writes = json_number(measured, "disk_write", 0);
    char text[HUMAN_TEXT_MAX];
    CLEANUP(buf_release) struct buf line = BUF_INIT;

    if (network > 0)
        buf_addf(&line, "backups come at %s/s", bytes((int64_t)network, text));
    if (writes > 0) {
        buf_addf(
            &line, "%sdisk writes %s/s", network > 0 ? ", " : "", bytes((int64_t)writes, text));
        buf_addf(&line, ", reads %s/s", bytes(json_int(measured, "disk_read", 0), text));
    }
    if (line.len > 0)
        text_wrap(t, TEXT_PLAIN, "    ", "measured: %s", line.data);
}

static void host_text(struct text *t, const json_t *plan, const json_t *host)
{
    enum { SHOWN_SHARDS = 12, BAR = 20 };
    int64_t whole = json_int(host, "memory", 0), part = json_int(host, "planned_memory", 0);
    char planned[HUMAN_TEXT_MAX], available[HUMAN_TEXT_MAX];
    struct buf line = BUF_INIT;

    text_wrap(t, TEXT_BOLD, "  ", "%s%s%s", json_text(host, "name", "?"),
        json_has(host, "rack") ? "  rack " : "", json_text(host, "rack", ""));
    if (json_is_false(json_object_get(host, "usable"))) {
        text_wrap(t, TEXT_YELLOW, "    ", "can't be used");
        return;
    }
    text_bar(&line, (double)part, (double)whole, BAR);
    text_wrap(t, part > whole ? TEXT_RED : TEXT_PLAIN, "    ", "%s %s of %s", line.data,
        bytes(part, planned), bytes(whole, available));
    buf_clear(&line);
    measured_text(t, json_object_get(host, "measured"));
    plan_host_shards(plan, json_text(host, "name", ""), SHOWN_SHARDS, &line);
    text_wrap(t, TEXT_PLAIN, "    ", "%s", line.len > 0 ? line.data : "no shards");
    buf_release(&line);
}

/* --- by rack --- */

struct rack {
    const char *name;
    size_t hosts, used, unusable;
    int64_t shards, memory, planned;
    double fullest; /* part of a host's memory */
    const char *fullest_host;
};

static void add_host(struct rack *rack, const json_t *host)
{
    int64_t memory = json_int(host, "memory", 0), planned = json_int(host, "planned_memory", 0);
    double full = memory > 0 ? (double)planned / (double)memory : 0;

    rack->hosts++;
    if (json_is_false(json_object_get(host, "usable"))) {
        rack->unusable++;
        return;
    }
    rack->used += json_int(host, "shards", 0) > 0;
    rack->shards += json_int(host, "shards", 0);
    rack->memory += memory;
    rack->planned += planned;
    if (full > rack->fullest) {
        rack->fullest = full;
        rack->fullest_host = json_text(host, "name", "?");
    }
}

/* In the order of the hosts; the caller frees it. */
static struct rack *racks_of(const json_t *hosts, size_t *ret_count)
{
    struct rack *racks = xcalloc(json_array_size(hosts) + 1, sizeof(*racks));
    json_t *numbers = json_object(), *host;
    size_t count = 0, i;

    json_array_foreach (hosts, i, host) {
        const char *name = json_text(host, "rack", "");
        const json_t *known = json_object_get(numbers, name);
        size_t at = known ? (size_t)json_integer_value(known) : count++;
        if (!known)
            json_object_set_new(numbers, name, json_integer((json_int_t)at));
        racks[at].name = name;
        add_host(&racks[at], host);
    }
    json_decref(numbers);
    *ret_count = count;
    return racks;
}

static void rack_row(struct text_table *table, const struct rack *rack)
{
    enum { BAR = 12 };
    char planned[HUMAN_TEXT_MAX], memory[HUMAN_TEXT_MAX];
    CLEANUP(buf_release) struct buf bar = BUF_INIT;

    text_bar(&bar, (double)rack->planned, (double)rack->memory, BAR);
    text_table_cell(table, TEXT_PLAIN, "%s", *rack->name ? rack->name : "(none)");
    text_table_cell(table, TEXT_PLAIN, "%zu of %zu", rack->used, rack->hosts);
    text_table_cell(table, rack->unusable > 0 ? TEXT_YELLOW : TEXT_PLAIN, "%zu", rack->unusable);
    text_table_cell(table, TEXT_PLAIN, "%lld", (long long)rack->shards);
    text_table_cell(
        table, TEXT_PLAIN, "%s of %s", bytes(rack->planned, planned), bytes(rack->memory, memory));
    text_table_cell(table, TEXT_PLAIN, "%s", bar.data);
    text_table_cell(table, TEXT_PLAIN, "%.0f%% %s", rack->fullest * 100,
        rack->fullest_host ? rack->fullest_host : "-");
}

static void racks_text(struct text *t, const json_t *hosts)
{
    enum { SHOWN = 50 };
    static const char *const heads[] = {
        "RACK", "HOSTS USED", "UNUSABLE", "SHARDS", "MEMORY", "", "FULLEST"};
    struct text_table table;
    size_t count;
    AUTO_FREE struct rack *racks = racks_of(hosts, &count);

    text_table_init(&table, "LrrrrlL");
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
        text_table_cell(&table, TEXT_PLAIN, "%s", heads[i]);
    for (size_t i = 0; i < count && i < SHOWN; i++)
        rack_row(&table, &racks[i]);
    text_table_print(&table, t, 2);
    text_more(t, 2, count, SHOWN);
    text_wrap(t, TEXT_PLAIN, "  ", "Each host, and where each shard goes: --json, or --svg OUT.");
}

void plan_text_hosts(struct text *t, const json_t *plan)
{
    const json_t *hosts = json_object_get(plan, "hosts");
    size_t i;
    json_t *host;

    text_heading(t, "Hosts (%zu)", json_array_size(hosts));
    if (json_array_size(hosts) > TEXT_LIST_MAX) {
        racks_text(t, hosts);
        return;
    }
    json_array_foreach (hosts, i, host) {
        host_text(t, plan, host);
    }
}
