#include "recluster/json.h"
#include "recluster/report.h"

#include <inttypes.h>
#include <string.h>

#include "doc.h"
#include "findings.h"
#include "proof_words.h"
#include "recluster/human.h"
#include "status_words.h"
#include "text.h"

static void proof_row_text(struct text_table *table, const json_t *proof)
{
    static const enum text_style styles[] = {
        [PROOF_OPEN] = TEXT_PLAIN, [PROOF_GOOD] = TEXT_GREEN, [PROOF_BAD] = TEXT_RED};
    char text[HUMAN_TEXT_MAX];

    text_table_cell(table, TEXT_PLAIN, "%s", json_text(proof, "label", "?"));
    text_table_cell(table, TEXT_PLAIN, "%s", json_text(proof, "role", "?"));
    text_table_cell(table, TEXT_PLAIN, "%s", json_text(proof, "host", "?"));
    text_table_cell(table, TEXT_PLAIN, "%s", proof_bytes(proof, "file_bytes", text));
    text_table_cell(table, TEXT_PLAIN, "%s", proof_count(proof, "keys_in_file", text));
    text_table_cell(table, TEXT_PLAIN, "%s", proof_count(proof, "keys_loaded", text));
    text_table_cell(table, TEXT_PLAIN, "%s", proof_count(proof, "keys_expired", text));
    text_table_cell(table, styles[proof_result(proof)], "%s", proof_word(proof));
}

/* Of primaries; a replica has the same file. */
static int64_t sum_of_primaries(const json_t *proofs, const char *field)
{
    int64_t sum = 0;
    size_t i;
    json_t *proof;

    json_array_foreach (proofs, i, proof) {
        if (strcmp(json_text(proof, "role", ""), "primary") == 0)
            sum += json_int(proof, field, 0);
    }
    return sum;
}

/* Keys of the files that are in no server, rightly. */
static void left_out_text(struct text *t, const json_t *proofs)
{
    int64_t empty = sum_of_primaries(proofs, "empty");
    int64_t expired = sum_of_primaries(proofs, "keys_expired");

    if (empty > 0)
        text_wrap(t, TEXT_PLAIN, "  ",
            "%" PRId64 " of the keys in the files have no elements: servers since 6.2.6 leave them "
            "out when they load.",
            empty);
    if (expired > 0)
        text_wrap(t, TEXT_PLAIN, "  ",
            "Keys that had expired since their backup and are not restored: %" PRId64
            ". A recovery with --shift-ttl restores such keys.",
            expired);
}

static void proof_text(struct text *t, const json_t *proofs)
{
    static const char *const heads[] = {
        "SHARD", "ROLE", "HOST", "FILE", "KEYS", "LOADED", "EXPIRED", "PROOF"};
    struct text_table table;
    size_t shown = 0, i;
    json_t *proof;

    text_heading(t, "Proof: keys in each file against keys in each server");
    if (json_array_size(proofs) == 0)
        text_wrap(t, TEXT_PLAIN, "  ", "none yet");
    if (json_array_size(proofs) == 0)
        return;
    text_table_init(&table, "LlLrrrrl");
    for (i = 0; i < ARRAY_SIZE(heads); i++)
        text_table_cell(&table, TEXT_PLAIN, "%s", heads[i]);
    /* The unproven ones come first, so that no abridging hides them. */
    for (int good = 0; good <= 1; good++) {
        json_array_foreach (proofs, i, proof) {
            if ((proof_result(proof) == PROOF_GOOD) != (bool)good || shown >= TEXT_LIST_MAX)
                continue;
            proof_row_text(&table, proof);
            shown++;
        }
    }
    text_table_print(&table, t, 2);
    text_more(t, 2, json_array_size(proofs), TEXT_LIST_MAX);
    left_out_text(t, proofs);
}

/* For each shard the two stages whose time depends on its bytes. */
static void times_text(struct text *t, const json_t *proofs)
{
    static const char *const heads[] = {"SHARD", "HOST", "TRANSFER", "PLANNED", "LOAD", "PLANNED"};
    static const char *const stages[] = {"transfer", "load"};
    struct text_table table;
    char text[HUMAN_TEXT_MAX];
    size_t i;
    json_t *proof;

    if (json_array_size(proofs) == 0)
        return;
    text_heading(t, "Times of the shards");
    text_table_init(&table, "LLrrrr");
    for (i = 0; i < ARRAY_SIZE(heads); i++)
        text_table_cell(&table, TEXT_PLAIN, "%s", heads[i]);
    json_array_foreach (proofs, i, proof) {
        if (i == TEXT_LIST_MAX)
            break;
        text_table_cell(&table, TEXT_PLAIN, "%s", json_text(proof, "label", "?"));
        text_table_cell(&table, TEXT_PLAIN, "%s", json_text(proof, "host", "?"));
        for (size_t k = 0; k < ARRAY_SIZE(stages); k++) {
            text_table_cell(&table, TEXT_PLAIN, "%s", proof_took(proof, stages[k], text));
            text_table_cell(&table, TEXT_PLAIN, "%s", proof_planned(proof, stages[k], text));
        }
    }
    text_table_print(&table, t, 2);
    text_more(t, 2, json_array_size(proofs), TEXT_LIST_MAX);
}

static void files_text(struct text *t, const json_t *proofs)
{
    size_t primaries = 0, checked = 0, absent = 0, full = 0, partial = 0, i;
    json_t *proof;

    json_array_foreach (proofs, i, proof) {
        const char *checksum = json_text(proof, "checksum", "");
        const char *sync = json_text(proof, "sync", "");
        full += strcmp(sync, "full") == 0;
        partial += strcmp(sync, "partial") == 0;
        if (strcmp(json_text(proof, "role", ""), "primary") != 0)
            continue;
        primaries++;
        checked += strcmp(checksum, "ok") == 0;
        absent += strcmp(checksum, "absent") == 0;
    }
    if (primaries == 0)
        return;
    text_wrap(t, TEXT_PLAIN, "  ", "Checksums of files: %zu right, %zu absent, %zu not read yet.",
        checked, absent, primaries - checked - absent);
    if (full + partial > 0)
        text_wrap(t, TEXT_PLAIN, "  ",
            "Replicas: %zu attached without copying data, %zu by a full copy.", partial, full);
}

/* Findings of the CCS above "info", warnings of the plan, and warnings of the run. */
static json_t *warnings_of(const json_t *report)
{
    json_t *all = json_array();
    size_t i;
    json_t *item;

    json_array_foreach (json_object_get(report, "findings"), i, item) {
        if (finding_rank(item) < 2)
            json_array_append(all, item);
    }
    json_array_extend(all, json_object_get(json_object_get(report, "plan"), "warnings"));
    json_array_foreach (json_object_get(report, "events"), i, item) {
        if (finding_rank(item) == 1)
            json_array_append(all, item);
    }
    return all;
}

void report_text(const json_t *report, bool colour, struct buf *out)
{
    struct text t = {.out = out, .colour = colour};
    const json_t *status = json_object_get(report, "status");
    json_t *warnings = warnings_of(report);

    text_wrap(&t, TEXT_BOLD, "", "Recovery of cluster %s",
        json_text(json_object_get(report, "cluster"), "name", "(without a name)"));
    status_verdict_text(&t, status);
    status_databases_text(&t, status);
    proof_text(&t, json_object_get(report, "proof"));
    files_text(&t, json_object_get(report, "proof"));
    status_stages_text(&t, status);
    times_text(&t, json_object_get(report, "proof"));
    issues_text(&t, "Warnings", TEXT_YELLOW, warnings);
    issues_text(&t, "Errors", TEXT_RED, json_object_get(status, "errors"));
    status_next_text(&t, status);
    json_decref(warnings);
}
