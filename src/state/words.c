/* The words of columns `state`. */

#include <string.h>

#include "recluster/mem.h"
#include "recluster/state.h"

#define WORD(id, word) [id] = (word),
static const char *const database_words[] = {DATABASE_STATES(WORD)};
static const char *const task_words[] = {TASK_STATES(WORD)};

static int find(const char *const words[], int count, const char *word)
{
    for (int i = 0; word && i < count; i++)
        if (strcmp(words[i], word) == 0)
            return i;
    return -1;
}

const char *database_state_name(enum database_state state)
{
    return database_words[state];
}

const char *task_state_name(enum task_state state)
{
    return task_words[state];
}

int database_state_parse(const char *word, enum database_state *ret)
{
    int found = find(database_words, DATABASE_STATE_COUNT, word);

    if (found >= 0)
        *ret = (enum database_state)found;
    return found < 0 ? -1 : 0;
}

int task_state_parse(const char *word, enum task_state *ret)
{
    int found = find(task_words, TASK_STATE_COUNT, word);

    if (found >= 0)
        *ret = (enum task_state)found;
    return found < 0 ? -1 : 0;
}
