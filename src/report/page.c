#include "recluster/json.h"
#include "recluster/report.h"

#include <inttypes.h>
#include <string.h>

#include "doc.h"
#include "html.h"
#include "proof_words.h"
#include "recluster/clock.h"
#include "recluster/human.h"
#include "status_words.h"

static const char *const style[] = {
#include "page.css.inc"
};

static void card(struct buf *out, const char *name, const char *value, const char *note)
{
    buf_adds(out, "<div>");
    html_element(out, "dt", NULL, "%s", name);
    buf_adds(out, "<dd>");
    html_escape(out, value);
    if (note)
        html_element(out, "small", NULL, "%s", note);
    buf_adds(out, "</dd></div>\n");
}

static int64_t sum(const json_t *proofs, const char *field)
{
    int64_t total = 0;
    size_t i;
    json_t *proof;

    json_array_foreach (proofs, i, proof) {
        if (strcmp(json_text(proof, "role", ""), "primary") == 0)
            total += json_int(proof, field, 0);
    }
    return total;
}

static void database_card(struct buf *out, const json_t *status)
{
    const json_t *databases = json_object_get(status, "databases");
    size_t opened = 0, i;
    json_t *database;
    char text[64];

    json_array_foreach (databases, i, database) {
        opened += json_has(database, "opened_ms");
    }
    snprintf(text, sizeof(text), "%zu of %zu", opened, json_array_size(databases));
    card(out, "Databases open", text, NULL);
}

static void proof_card(struct buf *out, const json_t *proofs)
{
    size_t good = 0, i;
    json_t *proof;
    char text[64];

    json_array_foreach (proofs, i, proof) {
        good += proof_result(proof) == PROOF_GOOD;
    }
    snprintf(text, sizeof(text), "%zu of %zu", good, json_array_size(proofs));
    card(out, "Shards proven", text, "keys of the file equal keys of the server");
}

static void cards(struct buf *out, const json_t *report)
{
    const json_t *status = json_object_get(report, "status");
    const json_t *proofs = json_object_get(report, "proof");
    char text[HUMAN_TEXT_MAX];

    buf_adds(out, "<dl class=\"cards\">\n");
    card(out, json_has(status, "ended_ms") ? "Recovery took (RTO)" : "Time so far",
        json_has(status, "rto_ms") ? human_duration(json_int(status, "rto_ms", 0), text) : "-",
        "from the start to the end of the run");
    card(out, "Data lost (RPO)",
        json_has(status, "rpo_s") ? human_duration(json_int(status, "rpo_s", 0) * 1000, text) : "-",
        "at most: age of the oldest set used");
    database_card(out, status);
    card(out, "Keys loaded", human_count((uint64_t)sum(proofs, "keys_loaded"), text),
        "in primaries");
    card(out, "Backup files", human_bytes((uint64_t)sum(proofs, "file_bytes"), text), "as stored");
    proof_card(out, proofs);
    buf_adds(out, "</dl>\n");
}

static void heading(struct buf *out, const json_t *report)
{
    static const char *const classes[] = {[VERDICT_GOOD] = "good",
        [VERDICT_BAD] = "bad",
        [VERDICT_MIXED] = "warn",
        [VERDICT_OPEN] = "plain"};
    const json_t *status = json_object_get(report, "status");
    const json_t *cluster = json_object_get(report, "cluster");
    AUTO_FREE char *times = status_times(status);
    char time[CLOCK_TEXT_MAX];

    buf_adds(out, "<header>\n");
    html_element(
        out, "p", NULL, "Recovery of cluster %s", json_text(cluster, "name", "(without a name)"));
    buf_addf(out, "<div class=\"verdict %s\">\n", classes[status_verdict(status)]);
    html_element(out, "h1", NULL, "%s", status_headline(status));
    html_element(out, "p", NULL, "%s", times);
    buf_adds(out, "</div>\n");
    if (json_has(cluster, "saved_ms"))
        html_element(out, "p", NULL, "From a CCS file (%s) that was saved %s.",
            json_text(cluster, "format", "?"), doc_time(cluster, "saved_ms", time));
    buf_adds(out, "</header>\n");
}

static void next_section(struct buf *out, const json_t *status)
{
    html_section(out, "next", "What to do next");
    if (json_count(status, "errors") > 0)
        html_element(out, "p", NULL, "Fix what the errors name, then run:");
    html_element(out, "pre", NULL, "%s", json_text(status, "next", ""));
    html_section_end(out);
}

void report_html(const json_t *report, struct buf *out)
{
    const json_t *status = json_object_get(report, "status");
    char time[CLOCK_TEXT_MAX];

    buf_adds(out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
        "'unsafe-inline'\">\n");
    html_element(out, "title", NULL, "Recovery of %s",
        json_text(json_object_get(report, "cluster"), "name", "a cluster"));
    buf_adds(out, "\n<style>\n");
    for (size_t i = 0; i < ARRAY_SIZE(style); i++)
        buf_addf(out, "%s\n", style[i]);
    buf_adds(out, "</style>\n</head>\n<body>\n<main>\n");
    heading(out, report);
    cards(out, report);
    page_databases(out, report);
    page_timeline(out, report);
    page_layout(out, report);
    page_slots(out, report);
    page_proof(out, report);
    page_issues(out, report);
    if (strcmp(json_text(status, "state", ""), "done") != 0)
        next_section(out, status);
    page_events(out, report);
    buf_adds(out, "<footer>");
    html_put(out, "Made by recluster %s, %s.", json_text(report, "version", "?"),
        doc_time(report, "made_ms", time));
    buf_adds(out, "</footer>\n</main>\n</body>\n</html>\n");
}
