#include "proof_words.h"

#include <string.h>

#include "doc.h"

enum proof_result proof_result(const json_t *proof)
{
    const json_t *proven = json_object_get(proof, "proven");
    return json_is_true(proven) ? PROOF_GOOD : json_is_false(proven) ? PROOF_BAD : PROOF_OPEN;
}

const char *proof_word(const json_t *proof)
{
    const char *state = doc_text(proof, "state", "?");

    switch (proof_result(proof)) {
    case PROOF_GOOD:
        return strcmp(doc_text(proof, "role", ""), "primary") == 0 ? "equal" : "in step";
    case PROOF_BAD:
        return strcmp(state, "failed") == 0 ? "failed" : "differs";
    case PROOF_OPEN:
        break;
    }
    return state;
}

const char *proof_bytes(const json_t *proof, const char *field, char text[HUMAN_TEXT_MAX])
{
    int64_t bytes = doc_int(proof, field, -1);
    return bytes < 0 ? "-" : human_bytes((uint64_t)bytes, text);
}

const char *proof_count(const json_t *proof, const char *field, char text[HUMAN_TEXT_MAX])
{
    int64_t count = doc_int(proof, field, -1);
    return count < 0 ? "-" : human_count((uint64_t)count, text);
}
