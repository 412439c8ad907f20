#include "draft.h"

#include <stdlib.h>

#include "recluster/human.h"

enum { NAMES_SHOWN = 3 };

int draft_number(json_t *numbers, const char *name)
{
    if (!name)
        return -1;
    const json_t *known = json_object_get(numbers, name);
    if (known)
        return (int)json_integer_value(known);
    int number = (int)json_object_size(numbers);
    json_object_set_new_nocheck(numbers, name, json_integer(number));
    return number;
}

int draft_host_named(const struct draft *d, const char *name)
{
    const json_t *number = name ? json_object_get(d->host_names, name) : NULL;

    return number ? (int)json_integer_value(number) : -1;
}

PRINTF_LIKE(2, 0)
static const char *text_of(struct draft *d, const char *fmt, va_list args)
{
    char *text = xvasprintf(fmt, args);
    const char *copy = arena_strdup(&d->plan->arena, text);

    free(text);
    return copy;
}

PRINTF_LIKE(3, 0)
static struct plan_issue issue_of(
    struct draft *d, const struct plan_issue *issue, const char *fmt, va_list args)
{
    struct plan_issue made = *issue;

    made.message = text_of(d, fmt, args);
    if (made.database)
        made.message = arena_printf(&d->plan->arena, "%s: %s", made.database, made.message);
    return made;
}

void draft_block(struct draft *d, const struct plan_issue *issue, const char *fmt, ...)
{
    struct plan *plan = d->plan;
    va_list args;

    va_start(args, fmt);
    GROW(plan->blockers, plan->blocker_count, d->blocker_alloc);
    plan->blockers[plan->blocker_count++] = issue_of(d, issue, fmt, args);
    va_end(args);
}

void draft_warn(struct draft *d, const struct plan_issue *issue, const char *fmt, ...)
{
    struct plan *plan = d->plan;
    va_list args;

    va_start(args, fmt);
    GROW(plan->warnings, plan->warning_count, d->warning_alloc);
    plan->warnings[plan->warning_count++] = issue_of(d, issue, fmt, args);
    va_end(args);
}

void draft_unchecked(struct draft *d, const char *fmt, ...)
{
    struct plan *plan = d->plan;
    va_list args;

    va_start(args, fmt);
    GROW(plan->unchecked, plan->unchecked_count, d->unchecked_alloc);
    plan->unchecked[plan->unchecked_count++] = text_of(d, fmt, args);
    va_end(args);
}

void draft_names_add(struct draft_names *names, const char *fmt, ...)
{
    va_list args;

    if (++names->count > NAMES_SHOWN && !names->all)
        return;
    if (names->count > 1)
        buf_adds(&names->text, ", ");
    va_start(args, fmt);
    buf_vaddf(&names->text, fmt, args);
    va_end(args);
}

const char *draft_names(struct draft *d, struct draft_names *names)
{
    if (names->count > NAMES_SHOWN && !names->all)
        buf_addf(&names->text, " and %zu more", names->count - NAMES_SHOWN);
    const char *text = arena_strdup(&d->plan->arena, names->text.data);
    buf_release(&names->text);
    names->count = 0;
    return text;
}

const char *draft_bytes(struct draft *d, int64_t bytes)
{
    char text[HUMAN_TEXT_MAX];

    return arena_strdup(&d->plan->arena, human_bytes(bytes > 0 ? (uint64_t)bytes : 0, text));
}

const char *draft_slots(struct draft *d, const struct slots *s)
{
    struct buf text = BUF_INIT;

    slots_format(s, &text);
    const char *copy = arena_strdup(&d->plan->arena, text.data);
    buf_release(&text);
    return copy;
}
