#include "proof_words.h"

#include <string.h>

#include "doc.h"
#include "recluster/json.h"

enum proof_result proof_result(const json_t *proof)
{
    const json_t *proven = json_object_get(proof, "proven");
    return json_is_true(proven) ? PROOF_GOOD : json_is_false(proven) ? PROOF_BAD : PROOF_OPEN;
}

const char *proof_word(const json_t *proof)
{
    const char *state = json_text(proof, "state", "?");

    switch (proof_result(proof)) {
    case PROOF_GOOD:
        return strcmp(json_text(proof, "role", ""), "primary") == 0 ? "equal" : "in step";
    case PROOF_BAD:
        return strcmp(state, "failed") == 0 ? "failed" : "differs";
    case PROOF_OPEN:
        break;
    }
    return state;
}

const char *proof_bytes(const json_t *proof, const char *field, char text[HUMAN_TEXT_MAX])
{
    int64_t bytes = json_int(proof, field, -1);
    return bytes < 0 ? "-" : human_bytes((uint64_t)bytes, text);
}

const char *proof_count(const json_t *proof, const char *field, char text[HUMAN_TEXT_MAX])
{
    int64_t count = json_int(proof, field, -1);
    return count < 0 ? "-" : human_count((uint64_t)count, text);
}

static int64_t stage_ms(const json_t *proof, const char *stage)
{
    int64_t total = -1;
    size_t i;
    json_t *task;

    json_array_foreach (json_object_get(proof, "times"), i, task) {
        if (strcmp(json_text(task, "stage", ""), stage) != 0 || !json_has(task, "started_ms") ||
            !json_has(task, "ended_ms"))
            continue;
        int64_t took = json_int(task, "ended_ms", 0) - json_int(task, "started_ms", 0);
        total = (total < 0 ? 0 : total) + (took > 0 ? took : 0);
    }
    return total;
}

const char *proof_took(const json_t *proof, const char *stage, char text[HUMAN_TEXT_MAX])
{
    int64_t took_ms = stage_ms(proof, stage);
    return took_ms < 0 ? "-" : human_duration(took_ms, text);
}

const char *proof_planned(const json_t *proof, const char *stage, char text[HUMAN_TEXT_MAX])
{
    bool load = strcmp(stage, "load") == 0;
    double planned_s = load || strcmp(stage, "transfer") == 0
                           ? json_number(proof, load ? "planned_load_s" : "planned_transfer_s", -1)
                           : -1;
    return planned_s < 0 ? "-" : human_duration((int64_t)(planned_s * 1000), text);
}
