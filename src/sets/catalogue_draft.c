#include "catalogue_draft.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/rdb_scan.h"
#include "unpack.h"

enum {
    HEAD_BYTES = 1024,
    /* Enough for HEAD_BYTES of a gzip file, also of an encrypted one: age decrypts 64 KiB at once. */
    HEAD_STORED_BYTES = 4096,
    HEAD_SEALED_BYTES = 128 * 1024,
};

struct backup_file *set_draft_add(
    struct set_draft *set, struct catalogue_draft *draft, const struct store_entry *entry)
{
    GROW(set->files, set->count, set->alloc);
    struct backup_file *file = &set->files[set->count++];
    *file = (struct backup_file){.name = arena_strdup(&draft->catalogue->arena, entry->name),
        .bytes = entry->bytes,
        .modified_ms = entry->modified_ms,
        .keys = -1};
    return file;
}

void set_draft_fault(struct set_draft *set, const char *fmt, ...)
{
    va_list args;

    if (set->faults.len)
        buf_adds(&set->faults, "; ");
    va_start(args, fmt);
    buf_vaddf(&set->faults, fmt, args);
    va_end(args);
}

void set_draft_error(struct set_draft *set, struct catalogue_draft *draft, const struct err *error)
{
    if (!set->faults.len && error->hint[0])
        set->hint = arena_strdup(&draft->catalogue->arena, error->hint);
    set_draft_fault(set, "%s", error->message);
}

void set_draft_note(struct set_draft *set, struct catalogue_draft *draft, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    AUTO_FREE char *text = xvasprintf(fmt, args);
    va_end(args);
    GROW(set->notes, set->note_count, set->note_alloc);
    set->notes[set->note_count++] = arena_strdup(&draft->catalogue->arena, text);
}

void set_draft_release(struct set_draft *set)
{
    for (size_t i = 0; i < set->count; i++) {
        json_decref(set->files[i].head);
        json_decref(set->files[i].facts);
    }
    free(set->files);
    free(set->notes);
    buf_release(&set->faults);
    *set = (struct set_draft)SET_DRAFT_INIT;
}

static unsigned first_slot(const struct slots *slots)
{
    unsigned at = 0, first = SLOT_COUNT, last;
    slots_next_range(slots, &at, &first, &last);
    return first;
}

static int by_first_slot(const void *a, const void *b)
{
    const struct backup_file *x = a, *y = b;
    unsigned p = first_slot(&x->slots), q = first_slot(&y->slots);
    return p != q ? (p > q) - (p < q) : strcmp(x->name, y->name);
}

void set_draft_end(
    struct set_draft *set, struct catalogue_draft *draft, const char *id, int64_t time_ms)
{
    struct catalogue *c = draft->catalogue;
    struct backup_set done = {
        .id = arena_strdup(&c->arena, id), .time_ms = time_ms, .hint = set->hint};
    int64_t now_ms = draft->query->now_ms;

    if (set->count)
        qsort(set->files, set->count, sizeof(*set->files), by_first_slot);
    done.missing = *draft->query->slots;
    for (size_t i = 0; i < set->count; i++)
        slots_subtract(&done.missing, &set->files[i].slots);
    if (set->faults.len)
        done.cause = arena_strdup(&c->arena, set->faults.data);
    done.future = now_ms > 0 && time_ms > now_ms + CATALOGUE_SKEW_MS;
    if (!slots_is_empty(&done.missing)) {
        struct buf slots = BUF_INIT;
        slots_format(&done.missing, &slots);
        bool one = slots_count(&done.missing) == 1;
        set_draft_fault(set, one ? "slot %s is missing" : "slots %s are missing", slots.data);
        buf_release(&slots);
    }
    if (!set->count && !set->faults.len)
        set_draft_fault(set, "it has no files");
    done.complete = !set->faults.len;
    if (!done.complete)
        done.reason = arena_strdup(&c->arena, set->faults.data);
    if (set->count)
        done.files = arena_memdup(&c->arena, set->files, set->count * sizeof(*set->files));
    done.file_count = set->count;
    if (set->note_count)
        done.notes = arena_memdup(&c->arena, set->notes, set->note_count * sizeof(*set->notes));
    done.note_count = set->note_count;
    GROW(c->sets, c->set_count, draft->set_alloc);
    c->sets[c->set_count++] = done;
    set->count = 0; /* the set owns their heads now */
    set_draft_release(set);
}

/* --- heads of files --- */

static int take_head(void *arg, const void *data, size_t len, struct err *err)
{
    struct buf *head = arg;
    size_t room = HEAD_BYTES - head->len;

    buf_add(head, data, len < room ? len : room);
    return len < room ? 0 : err_set(err, ERR_CANCELLED, "enough was read");
}

struct head_reading {
    struct unpack *unpack;
    const char *name;
};

static int take_stored(void *arg, const void *data, size_t len, struct err *err)
{
    const struct head_reading *reading = arg;
    int rc = unpack_feed(reading->unpack, data, len, err);
    return rc < 0 ? err_wrap(err, "'%s'", reading->name) : 0;
}

/* Reads the head from the stored bytes; `whole`: they are the whole file. */
static int parse_head(struct unpack *unpack, const struct buf *head, bool whole,
    struct backup_file *file, struct err *err)
{
    /* Only at the end of a file is it known whether it is empty or truncated. */
    if (whole && head->len < HEAD_BYTES && unpack_end(unpack, err) < 0)
        return err_wrap(err, "'%s'", file->name);
    /* What is decrypted comes late: it has to be waited for. */
    struct err cut_off = ERR_INIT;
    if (!whole && head->len < HEAD_BYTES && unpack_end(unpack, &cut_off) < 0 && !head->len) {
        *err = cut_off;
        return err_wrap(err, "'%s'", file->name);
    }
    if (rdb_scan_head(head->data, head->len, &file->head, err) < 0)
        return err_wrap(err, "'%s'", file->name);
    return 0;
}

int catalogue_read_head(struct catalogue_draft *draft, struct backup_file *file,
    int64_t *ret_modified_ms, struct err *err)
{
    struct buf head = BUF_INIT;
    struct store_object object;
    struct head_reading reading = {unpack_new(take_head, &head), file->name};
    const char *key = store_decrypt_key(draft->store);
    int64_t bytes = key ? HEAD_SEALED_BYTES : HEAD_STORED_BYTES;

    unpack_use_key(reading.unpack, key);
    int rc = store_read(draft->store, &(struct store_range){file->name, 0, bytes}, take_stored,
        &reading, &object, err);
    if (rc == 0) {
        bool whole = object.bytes >= 0 && object.bytes <= bytes;
        rc = parse_head(reading.unpack, &head, whole, file, err);
    }
    unpack_free(reading.unpack);
    buf_release(&head);
    if (rc < 0)
        return -1;
    if (object.bytes >= 0)
        file->bytes = object.bytes;
    if (ret_modified_ms)
        *ret_modified_ms = object.modified_ms;
    return 0;
}

bool catalogue_is_fault_of_file(enum err_code code)
{
    return code == ERR_CORRUPT || code == ERR_UNSUPPORTED || code == ERR_LIMIT ||
           code == ERR_NOT_FOUND || code == ERR_DENIED;
}
