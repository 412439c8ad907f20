#include "html.h"

#include <inttypes.h>
#include <string.h>

#include "doc.h"
#include "findings.h"
#include "plan_facts.h"
#include "proof_words.h"
#include "recluster/clock.h"
#include "recluster/human.h"
#include "recluster/json.h"

enum { ROWS_MAX = 400 /* of a table; the JSON document has all of it */ };

static void cut_note(struct buf *out, size_t count, size_t shown)
{
    if (count > shown)
        html_element(
            out, "p", "soft", "… and %zu more: see recluster report --json.", count - shown);
}

static const char *state_class(const char *state)
{
    static const char *const good[] = {"done", "open"}, *const bad[] = {"failed"},
                             *const warn[] = {"skipped"};

    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        if (strcmp(state, good[i]) == 0)
            return "good";
    if (strcmp(state, bad[0]) == 0)
        return "bad";
    return strcmp(state, warn[0]) == 0 ? "warn" : "plain";
}

static void duration_cell(struct buf *out, const json_t *doc, const char *seconds_field)
{
    char text[HUMAN_TEXT_MAX];

    html_element(out, "td", "n", "%s",
        json_has(doc, seconds_field) ? human_duration(json_int(doc, seconds_field, 0) * 1000, text)
                                     : "-");
}

static void endpoints_cell(struct buf *out, const json_t *database)
{
    enum { SHOWN = 8 };
    const json_t *endpoints = json_object_get(database, "endpoints");
    CLEANUP(buf_release) struct buf sentinels = BUF_INIT;
    size_t i;
    json_t *endpoint;

    buf_adds(out, "<td class=\"mono\">");
    json_array_foreach (endpoints, i, endpoint) {
        struct buf text = BUF_INIT;
        if (i == SHOWN) {
            html_element(out, "div", "soft", "… and %zu more", json_array_size(endpoints) - SHOWN);
            break;
        }
        plan_endpoint(endpoint, &text);
        html_element(out, "div", NULL, "%s", text.data);
        buf_release(&text);
    }
    plan_sentinels(database, &sentinels);
    if (sentinels.len > 0)
        html_element(out, "div", "soft", "Sentinels: %s", sentinels.data);
    buf_adds(out, json_array_size(endpoints) > 0 ? "</td>" : "-</td>");
}

static void database_row(struct buf *out, const json_t *database)
{
    const char *state = json_text(database, "state", "?");
    char text[HUMAN_TEXT_MAX];

    buf_adds(out, "<tr><td>");
    html_element(out, "b", NULL, "%s", json_text(database, "label", "?"));
    buf_addc(out, ' ');
    html_escape(out, json_text(database, "name", ""));
    buf_adds(out, "</td><td>");
    html_badge(out, state_class(state), state);
    if (json_has(database, "skipped"))
        html_element(out, "div", "soft", "%s", json_text(database, "skipped", ""));
    buf_adds(out, "</td>");
    duration_cell(out, database, "rpo_s");
    duration_cell(out, database, "rto_s");
    buf_adds(out, "<td class=\"long\">");
    if (json_has(database, "set_name"))
        html_put(out, "%s of %s", json_text(database, "set_name", "?"),
            doc_time(database, "set_time_ms", text));
    if (json_has(database, "location"))
        html_element(out, "div", "soft", "%s", json_text(database, "location", ""));
    buf_adds(out, "</td>");
    endpoints_cell(out, database);
    buf_adds(out, "</tr>\n");
}

void page_databases(struct buf *out, const json_t *report)
{
    const json_t *databases = json_object_get(report, "databases");
    size_t i;
    json_t *database;

    html_section(out, "databases", "Databases");
    html_table(out,
        "Lost: the age of the backup set when the recovery started. Opened after: from the start "
        "until "
        "clients could log in.",
        "Database|State|#Lost (RPO)|#Opened after (RTO)|Backup set|Endpoints");
    json_array_foreach (databases, i, database) {
        if (i == ROWS_MAX)
            break;
        database_row(out, database);
    }
    html_table_end(out);
    cut_note(out, json_array_size(databases), ROWS_MAX);
    html_section_end(out);
}

/* The shards of one host as chips, placed by the plan. */
static void host_chips(struct buf *out, const json_t *plan, const char *host)
{
    enum { SHOWN = 40 };
    size_t found = 0, i, k;
    json_t *database, *shard;

    buf_adds(out, "<div class=\"chips\">");
    json_array_foreach (json_object_get(plan, "databases"), i, database) {
        json_array_foreach (json_object_get(database, "shards"), k, shard) {
            bool replica = strcmp(json_text(shard, "role", ""), "replica") == 0;
            if (strcmp(json_text(shard, "host", ""), host) != 0 || found++ >= SHOWN)
                continue;
            html_element(out, "span", replica ? "chip replica" : "chip", "%s shard:%s%s",
                json_text(database, "label", "?"), json_text(shard, "uid", "?"),
                replica ? " replica" : "");
        }
    }
    if (found > SHOWN)
        html_element(out, "span", "chip", "… and %zu more", found - SHOWN);
    buf_adds(out, "</div>");
}

static void host_block(struct buf *out, const json_t *plan, const json_t *host)
{
    const char *name = json_text(host, "name", "?");
    int64_t whole = json_int(host, "memory", 0), part = json_int(host, "planned_memory", 0);
    char planned[HUMAN_TEXT_MAX], available[HUMAN_TEXT_MAX];

    human_bytes((uint64_t)(part > 0 ? part : 0), planned);
    human_bytes((uint64_t)(whole > 0 ? whole : 0), available);
    AUTO_FREE char *words = xasprintf("%s of %s memory planned", planned, available);
    buf_adds(out, "<div class=\"host\">");
    html_element(out, "b", NULL, "%s", name);
    html_element(out, "span", "soft", "  %s", words);
    html_bar(out, (double)part, (double)whole, words);
    host_chips(out, plan, name);
    buf_adds(out, "</div>\n");
}

void page_layout(struct buf *out, const json_t *report)
{
    enum { SHOWN = 200 };
    const json_t *plan = json_object_get(report, "plan");
    const json_t *hosts = json_object_get(plan, "hosts");
    json_t *racks = json_object(); /* keeps the order of the plan */
    const char *rack;
    size_t shown = 0, i;
    json_t *host, *value;

    html_section(out, "layout", "Layout by rack and host");
    json_array_foreach (hosts, i, host) {
        json_object_set_new(racks, json_text(host, "rack", ""), json_null());
    }
    buf_adds(out, "<div class=\"racks\">\n");
    json_object_foreach (racks, rack, value) {
        buf_adds(out, "<div class=\"rack\">");
        html_element(out, "h3", NULL, "%s%s", *rack ? "Rack " : "No rack", rack);
        json_array_foreach (hosts, i, host) {
            if (strcmp(json_text(host, "rack", ""), rack) == 0 && shown++ < SHOWN)
                host_block(out, plan, host);
        }
        buf_adds(out, "</div>\n");
    }
    buf_adds(out, "</div>\n");
    cut_note(out, json_array_size(hosts), SHOWN);
    html_section_end(out);
    json_decref(racks);
}

static void time_cell(struct buf *out, const json_t *proof, const char *stage)
{
    char took[HUMAN_TEXT_MAX], planned[HUMAN_TEXT_MAX];

    buf_adds(out, "<td class=\"n\">");
    html_escape(out, proof_took(proof, stage, took));
    if (*proof_planned(proof, stage, planned) != '-')
        html_element(out, "div", "soft", "%s", planned);
    buf_adds(out, "</td>");
}

static void proof_row(struct buf *out, const json_t *proof)
{
    static const char *const counts[] = {"keys_in_file", "keys_loaded", "keys_expired"};
    static const char *const classes[] = {
        [PROOF_OPEN] = "plain", [PROOF_GOOD] = "good", [PROOF_BAD] = "bad"};
    char text[HUMAN_TEXT_MAX];

    buf_adds(out, "<tr><td class=\"w\">");
    html_element(out, "b", NULL, "%s", json_text(proof, "label", "?"));
    html_element(out, "div", "soft", "%s %s", json_text(proof, "database", ""),
        json_text(proof, "role", "?"));
    buf_adds(out, "</td>");
    html_element(out, "td", NULL, "%s", json_text(proof, "host", "?"));
    buf_adds(out, "<td class=\"mono long\">");
    const char *place = json_string_value(json_array_get(json_object_get(proof, "places"), 0));
    html_escape(out, place ? place : json_text(proof, "file", "-"));
    if (json_has(proof, "sha256"))
        html_element(out, "div", "soft", "sha256 %.16s…", json_text(proof, "sha256", ""));
    buf_adds(out, "</td>");
    buf_adds(out, "<td class=\"n\">");
    html_escape(out, proof_bytes(proof, "file_bytes", text));
    html_element(out, "div", "soft", "%s", proof_bytes(proof, "bytes", text));
    buf_adds(out, "</td>");
    html_element(out, "td", "w", "%s", json_text(proof, "checksum", "-"));
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        buf_adds(out, "<td class=\"n\">");
        html_escape(out, proof_count(proof, counts[i], text));
        if (i == 0 && json_int(proof, "empty", 0) > 0)
            html_element(
                out, "div", "soft", "%s without elements", proof_count(proof, "empty", text));
        buf_adds(out, "</td>");
    }
    html_element(out, "td", "w", "%s", json_text(proof, "sync", "-"));
    for (int64_t stage = 1; stage <= 4; stage++)
        time_cell(out, proof, stage_word(stage));
    buf_adds(out, "<td>");
    html_badge(out, classes[proof_result(proof)], proof_word(proof));
    buf_adds(out, "</td></tr>\n");
}

void page_stages(struct buf *out, const json_t *report)
{
    const json_t *status = json_object_get(report, "status"), *stage;
    char text[HUMAN_TEXT_MAX];
    size_t i;

    html_table(out, "Over all shards, which go through the stages each at its own pace.",
        "Stage|#Tasks done|#Took|#Planned");
    json_array_foreach (json_object_get(status, "stages"), i, stage) {
        int64_t began = json_int(stage, "started_ms", -1), ended = json_int(stage, "ended_ms", -1);
        bool known = began >= 0 && ended >= began;
        buf_adds(out, "<tr>");
        html_element(out, "td", "w", "%zu %s", i + 1, json_text(stage, "stage", "?"));
        html_element(out, "td", "n", "%" PRId64 " of %" PRId64, (int64_t)json_int(stage, "done", 0),
            (int64_t)json_int(stage, "total", 0));
        html_element(out, "td", "n", "%s", known ? human_duration(ended - began, text) : "-");
        html_element(out, "td", "n", "%s",
            json_has(stage, "planned_s")
                ? human_duration((int64_t)(json_number(stage, "planned_s", 0) * 1000), text)
                : "-");
        buf_adds(out, "</tr>\n");
    }
    html_table_end(out);
}

void page_proof(struct buf *out, const json_t *report)
{
    const json_t *proofs = json_object_get(report, "proof");
    size_t shown = 0, i;
    json_t *proof;

    html_section(out, "proof", "Proof");
    html_table(out,
        "Every key of a file is in its server or had expired; a replica is in step with its "
        "primary. Below sizes: unpacked; below times: as planned.",
        "Shard|Host|File|#Size|Checksum|#Keys in file|#Loaded|#Expired|Sync|#Prepare|#Transfer|#"
        "Load|#Open|Proof");
    for (int good = 0; good <= 1; good++)
        json_array_foreach (proofs, i, proof) {
            if ((proof_result(proof) == PROOF_GOOD) == (bool)good && shown++ < ROWS_MAX)
                proof_row(out, proof);
        }
    html_table_end(out);
    cut_note(out, json_array_size(proofs), ROWS_MAX);
    html_section_end(out);
}

static void issue_item(struct buf *out, const char *class, const char *word, const json_t *issue)
{
    const char *hint = json_text(issue, "hint", NULL);
    struct buf subject = BUF_INIT;

    issue_subject(issue, &subject);
    buf_adds(out, "<li>");
    html_badge(out, class, word);
    buf_addc(out, ' ');
    html_element(
        out, "span", "soft", "%s", subject.len > 0 ? subject.data : json_text(issue, "code", ""));
    html_element(out, "p", NULL, "%s", doc_message(issue));
    if (hint)
        html_element(out, "p", "soft", "%s", hint);
    buf_adds(out, "</li>\n");
    buf_release(&subject);
}

static void issue_items(struct buf *out, const char *class, const char *word, const json_t *issues)
{
    size_t i;
    json_t *issue;

    json_array_foreach (issues, i, issue) {
        if (i < ROWS_MAX)
            issue_item(out, class, word, issue);
    }
}

void page_issues(struct buf *out, const json_t *report)
{
    static const char *const classes[] = {"bad", "warn", "plain"};
    const json_t *status = json_object_get(report, "status");
    const json_t *plan = json_object_get(report, "plan");
    const json_t *findings = json_object_get(report, "findings");
    const json_t *errors = json_object_get(status, "errors");
    const json_t *warnings = json_object_get(plan, "warnings");
    const json_t *blockers = json_object_get(plan, "blockers");
    size_t shown = 0, i;
    json_t *finding;

    html_section(out, "issues", "Errors, warnings and findings");
    buf_adds(out, "<ul class=\"issues\">\n");
    issue_items(out, "bad", "error", errors);
    issue_items(out, "bad", "blocker", blockers);
    issue_items(out, "warn", "warning", warnings);
    for (int rank = 0; rank < 3; rank++)
        json_array_foreach (findings, i, finding) {
            if (finding_rank(finding) == rank && shown++ < ROWS_MAX)
                issue_item(out, classes[rank], json_text(finding, "severity", "?"), finding);
        }
    buf_adds(out, "</ul>\n");
    if (json_array_size(errors) + json_array_size(blockers) + json_array_size(warnings) + shown ==
        0)
        html_element(out, "p", "soft", "None.");
    cut_note(out, json_array_size(findings), ROWS_MAX);
    html_section_end(out);
}

static void event_row(struct buf *out, const json_t *event, int64_t started_ms)
{
    static const char *const classes[] = {"bad", "warn", "plain"};
    int64_t at_ms = json_int(event, "at_ms", 0);
    char time[CLOCK_TEXT_MAX], since[HUMAN_TEXT_MAX];

    buf_adds(out, "<tr>");
    html_element(out, "td", "mono w", "%s", doc_time(event, "at_ms", time));
    html_element(out, "td", "n", "%s",
        started_ms < 0 || at_ms < started_ms ? "" : human_duration(at_ms - started_ms, since));
    buf_adds(out, "<td>");
    html_badge(out, classes[finding_rank(event)], json_text(event, "severity", "info"));
    buf_adds(out, "</td>");
    html_element(out, "td", NULL, "%s", json_text(event, "host", ""));
    html_element(out, "td", NULL, "%s", json_text(event, "message", ""));
    buf_adds(out, "</tr>\n");
}

void page_events(struct buf *out, const json_t *report)
{
    const json_t *events = json_object_get(report, "events");
    size_t count = json_array_size(events), i;
    int64_t started_ms = json_int(json_object_get(report, "status"), "started_ms", -1);
    json_t *event;

    html_section(out, "events", "History");
    html_table(out, "What happened, in the order in which it was recorded (UTC).",
        "Time|#After|Severity|Host|Event");
    json_array_foreach (events, i, event) {
        /* The beginning and the end of a long history. */
        if (count > ROWS_MAX && i >= ROWS_MAX / 2 && i < count - ROWS_MAX / 2) {
            if (i == ROWS_MAX / 2)
                buf_addf(out, "<tr><td colspan=\"5\" class=\"soft\">… %zu more …</td></tr>\n",
                    count - ROWS_MAX);
            continue;
        }
        event_row(out, event, started_ms);
    }
    html_table_end(out);
    html_section_end(out);
}
