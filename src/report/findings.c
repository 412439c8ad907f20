#include "findings.h"

#include <string.h>

#include "doc.h"
#include "recluster/json.h"

int finding_rank(const json_t *finding)
{
    const char *severity = json_text(finding, "severity", "");
    return strcmp(severity, "error") == 0 ? 0 : strcmp(severity, "warning") == 0 ? 1 : 2;
}

void findings_text(struct text *t, const json_t *findings)
{
    static const enum text_style styles[] = {TEXT_RED, TEXT_YELLOW, TEXT_PLAIN};
    enum { SHOWN = 50 };
    size_t counts[3] = {0}, shown = 0, i;
    json_t *finding;

    json_array_foreach (findings, i, finding) {
        counts[finding_rank(finding)]++;
    }
    text_heading(t, "Findings (%zu %s, %zu %s, %zu %s)", counts[0],
        counts[0] == 1 ? "error" : "errors", counts[1], counts[1] == 1 ? "warning" : "warnings",
        counts[2], counts[2] == 1 ? "note" : "notes");
    for (int rank = 0; rank < 3; rank++) {
        json_array_foreach (findings, i, finding) {
            if (finding_rank(finding) != rank || shown >= SHOWN)
                continue;
            text_put(t, styles[rank], "  %-9.9s", json_text(finding, "severity", "?"));
            text_put(t, TEXT_PLAIN, "%.60s", json_text(finding, "code", ""));
            text_end(t);
            text_wrap(t, TEXT_PLAIN, "           ", "%s", json_text(finding, "message", ""));
            shown++;
        }
    }
    text_more(t, 2, json_array_size(findings), SHOWN);
    if (json_array_size(findings) == 0)
        text_wrap(t, TEXT_GREEN, "  ", "none");
}

void issue_subject(const json_t *issue, struct buf *out)
{
    static const struct {
        const char *field, *before, *after;
    } parts[] = {
        {"database", "", ""}, {"shard", "", ""}, {"host", "host '", "'"}, {"task", "task ", ""}};

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        const char *name = json_text(issue, parts[i].field, NULL);
        if (name)
            buf_addf(
                out, "%s%s%s%s", out->len > 0 ? ", " : "", parts[i].before, name, parts[i].after);
    }
}

void issues_text(struct text *t, const char *heading, enum text_style style, const json_t *issues)
{
    size_t i;
    json_t *issue;

    if (json_array_size(issues) == 0)
        return;
    text_heading(t, "%s (%zu)", heading, json_array_size(issues));
    json_array_foreach (issues, i, issue) {
        struct buf subject = BUF_INIT;
        const char *hint = json_text(issue, "hint", NULL);
        if (i == TEXT_LIST_MAX)
            break;
        /* The issues of a plan name their subject themselves. */
        if (!json_has(issue, "code"))
            issue_subject(issue, &subject);
        text_wrap(t, style, "  - ", "%s%s%s", subject.data, subject.len > 0 ? ": " : "",
            doc_message(issue));
        if (hint && *hint)
            text_wrap(t, TEXT_PLAIN, "    ", "%s", hint);
        buf_release(&subject);
    }
    text_more(t, 2, json_array_size(issues), TEXT_LIST_MAX);
}
