/* The layout as a graph: racks hold hosts, hosts hold shards, replicas point to their primaries. */

#include <inttypes.h>
#include <string.h>

#include "doc.h"
#include "plan_facts.h"
#include "recluster/human.h"
#include "recluster/report.h"

/* Inside double quotes. A backslash would be an escape of Graphviz's own. */
static void quote(struct buf *out, const char *s)
{
    buf_addc(out, '"');
    while (*s) {
        const char *start = s;
        uint32_t c = doc_next_char(&s);
        if (c == '"' || c == '\\')
            buf_addf(out, "\\%c", (char)c);
        else if (c < 0x20 || c == 0x7f || c == 0xfffd)
            buf_adds(out, "?");
        else
            buf_add(out, start, (size_t)(s - start));
    }
    buf_addc(out, '"');
}

PRINTF_LIKE(2, 3)
static void quotef(struct buf *out, const char *fmt, ...)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    va_list args;

    va_start(args, fmt);
    buf_vaddf(&text, fmt, args);
    va_end(args);
    quote(out, text.data);
}

static void shard_node(struct buf *out, const json_t *database, const json_t *shard)
{
    bool replica = strcmp(doc_text(shard, "role", ""), "replica") == 0;

    buf_adds(out, "      ");
    quotef(out, "shard:%s", doc_text(shard, "uid", "?"));
    buf_adds(out, " [label=");
    quotef(out, "%s shard:%s %s :%" PRId64, doc_text(database, "label", "?"),
        doc_text(shard, "uid", "?"), replica ? "replica" : "primary", doc_int(shard, "port", 0));
    buf_addf(out, "%s];\n", replica ? ", style=dashed" : "");
}

static void host_cluster(
    struct buf *out, const json_t *host, const struct plan_layout *layout, size_t number)
{
    char planned[HUMAN_TEXT_MAX], memory[HUMAN_TEXT_MAX];
    const char *name = doc_text(host, "name", "?");
    size_t count;
    const struct plan_placed *placed = plan_layout_of(layout, name, &count);

    buf_addf(out, "    subgraph \"cluster_host_%zu\" {\n      label=", number);
    quotef(out, "%s  %s of %s", name,
        human_bytes((uint64_t)doc_int(host, "planned_memory", 0), planned),
        human_bytes((uint64_t)doc_int(host, "memory", 0), memory));
    buf_adds(out, ";\n");
    /* An empty cluster would not be drawn. */
    if (count == 0)
        buf_addf(out, "      empty_%zu [label=\"\", style=invis];\n", number);
    for (size_t i = 0; i < count; i++)
        shard_node(out, placed[i].database, placed[i].shard);
    buf_adds(out, "    }\n");
}

static void replica_edges(struct buf *out, const json_t *plan)
{
    size_t i, k;
    json_t *database, *shard;

    json_array_foreach (json_object_get(plan, "databases"), i, database) {
        json_array_foreach (json_object_get(database, "shards"), k, shard) {
            if (!doc_has(shard, "primary") || !doc_has(shard, "host"))
                continue;
            buf_adds(out, "  ");
            quotef(out, "shard:%s", doc_text(shard, "uid", "?"));
            buf_adds(out, " -> ");
            quotef(out, "shard:%s", doc_text(shard, "primary", "?"));
            buf_adds(out, ";\n");
        }
    }
}

void report_plan_dot(const json_t *plan, struct buf *out)
{
    struct plan_layout layout;
    const char *const *racks;

    plan_layout_init(&layout, plan);
    racks = layout.racks;
    buf_adds(out, "digraph plan {\n  rankdir=LR;\n  node [shape=box, fontsize=10];\n"
                  "  edge [color=gray];\n  label=");
    quotef(out, "plan %.12s", doc_text(plan, "hash", ""));
    buf_adds(out, ";\n");
    for (size_t r = 0; r < layout.rack_count; r++) {
        size_t i;
        json_t *host;
        buf_addf(out, "  subgraph \"cluster_rack_%zu\" {\n    label=", r);
        quotef(out, "%s%s", *racks[r] ? "rack " : "no rack", racks[r]);
        buf_adds(out, ";\n");
        json_array_foreach (json_object_get(plan, "hosts"), i, host) {
            if (strcmp(doc_text(host, "rack", ""), racks[r]) == 0)
                host_cluster(out, host, &layout, i);
        }
        buf_adds(out, "  }\n");
    }
    replica_edges(out, plan);
    buf_adds(out, "}\n");
    plan_layout_release(&layout);
}
