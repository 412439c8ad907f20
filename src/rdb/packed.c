#include "packed.h"

#include <inttypes.h>
#include <stdio.h>

#define CUT "it is cut"

enum {
    ZIPLIST_HEADER = 10, /* bytes, offset of the tail, count of entries */
    LISTPACK_HEADER = 6, /* bytes, count of entries */
    INTSET_HEADER = 8,   /* width, count */
    END_MARK = 0xff,
};

static size_t left(const struct packed *it)
{
    return (size_t)(it->end - it->p);
}

static void set_bytes(struct packed_entry *entry, const uint8_t *data, size_t len)
{
    entry->bytes = (struct rdb_bytes){data, len};
}

static void set_integer(struct packed_entry *entry, int64_t value)
{
    int len = snprintf(entry->text, sizeof(entry->text), "%" PRId64, value);
    entry->bytes = (struct rdb_bytes){entry->text, (size_t)len};
}

static int64_t load24(const uint8_t *p)
{
    int32_t v = p[0] | p[1] << 8 | (int8_t)p[2] * 65536;
    return v;
}

static const char *open_ziplist(struct packed *it, size_t len)
{
    if (len < ZIPLIST_HEADER + 1)
        return CUT;
    if (load32(it->data) != len)
        return "its size is not what its header says";
    if (it->data[len - 1] != END_MARK)
        return "its end mark is missing";
    it->tail = load32(it->data + 4);
    it->claimed = load16(it->data + 8);
    it->counted = it->claimed != UINT16_MAX;
    it->p = it->data + ZIPLIST_HEADER;
    it->end = it->data + len - 1;
    return NULL;
}

static const char *open_listpack(struct packed *it, size_t len)
{
    if (len < LISTPACK_HEADER + 1)
        return CUT;
    if (load32(it->data) != len)
        return "its size is not what its header says";
    if (it->data[len - 1] != END_MARK)
        return "its end mark is missing";
    it->claimed = load16(it->data + 4);
    it->counted = it->claimed != UINT16_MAX;
    it->p = it->data + LISTPACK_HEADER;
    it->end = it->data + len - 1;
    return NULL;
}

static const char *open_intset(struct packed *it, size_t len)
{
    if (len < INTSET_HEADER)
        return CUT;
    it->width = load32(it->data);
    it->claimed = load32(it->data + 4);
    it->counted = true;
    it->p = it->data + INTSET_HEADER;
    it->end = it->data + len;
    if (it->width != 2 && it->width != 4 && it->width != 8)
        return "its integers have no known width";
    if (it->claimed * it->width != len - INTSET_HEADER)
        return "its size is not what its header says";
    return NULL;
}

static const char *open_zipmap(struct packed *it, size_t len)
{
    if (len < 2)
        return CUT;
    if (it->data[len - 1] != END_MARK)
        return "its end mark is missing";
    it->claimed = (uint64_t)2 * it->data[0];
    it->counted = it->data[0] < 254;
    it->p = it->data + 1;
    it->end = it->data + len - 1;
    return NULL;
}

const char *packed_open(struct packed *it, enum packing packing, const void *data, size_t len)
{
    *it = (struct packed){.packing = packing, .data = data};
    switch (packing) {
    case PACKED_ZIPLIST:
        return open_ziplist(it, len);
    case PACKED_LISTPACK:
        return open_listpack(it, len);
    case PACKED_INTSET:
        return open_intset(it, len);
    case PACKED_ZIPMAP:
        return open_zipmap(it, len);
    case PACKED_NONE:
        break;
    }
    return "it is not packed";
}

/* The length of an integer in a ziplist, after its encoding byte; or -1. */
static int ziplist_integer_bytes(uint8_t encoding)
{
    switch (encoding) {
    case 0xfe:
        return 1;
    case 0xc0:
        return 2;
    case 0xf0:
        return 3;
    case 0xd0:
        return 4;
    case 0xe0:
        return 8;
    default:
        return encoding > 0xf0 && encoding < 0xfe ? 0 : -1;
    }
}

static int64_t integer_of(const uint8_t *p, int bytes)
{
    switch (bytes) {
    case 1:
        return (int8_t)*p;
    case 2:
        return (int16_t)load16(p);
    case 3:
        return load24(p);
    case 4:
        return (int32_t)load32(p);
    default:
        return (int64_t)load64(p);
    }
}

static const char *ziplist_integer(struct packed *it, struct packed_entry *ret)
{
    uint8_t encoding = *it->p;
    int bytes = ziplist_integer_bytes(encoding);

    if (bytes < 0)
        return "an entry has no known encoding";
    if (left(it) < 1 + (size_t)bytes)
        return CUT;
    set_integer(ret, bytes ? integer_of(it->p + 1, bytes) : (encoding & 15) - 1);
    it->p += 1 + bytes;
    return NULL;
}

static const char *ziplist_next(struct packed *it, struct packed_entry *ret)
{
    const uint8_t *start = it->p;
    size_t back_bytes = *it->p == 254 ? 5 : 1;

    if (left(it) < back_bytes + 1)
        return CUT;
    if (*it->p == END_MARK)
        return "its end mark is before its end";
    if ((back_bytes == 5 ? load32(it->p + 1) : *it->p) != it->back)
        return "an entry's back-length is wrong";
    it->p += back_bytes;

    const char *why = NULL;
    uint8_t encoding = *it->p;
    if (encoding >= 0xc0) {
        why = ziplist_integer(it, ret);
    } else {
        size_t head = encoding < 0x40 ? 1 : encoding < 0x80 ? 2 : 5;
        if (left(it) < head)
            return CUT;
        size_t len = head == 1   ? encoding
                     : head == 2 ? (size_t)(encoding & 0x3f) << 8 | it->p[1]
                                 : (size_t)it->p[1] << 24 | (size_t)it->p[2] << 16 |
                                       (size_t)it->p[3] << 8 | it->p[4];
        it->p += head;
        if (left(it) < len)
            return CUT;
        set_bytes(ret, it->p, len);
        it->p += len;
    }
    it->back = (uint32_t)(it->p - start);
    if (it->p == it->end && it->tail != start - it->data)
        return "its header does not point to its last entry";
    return why;
}

/* The number of bytes of a listpack entry's back-length. */
static size_t listpack_back_bytes(size_t len)
{
    return len <= 127 ? 1 : len < 16383 ? 2 : len < 2097151 ? 3 : len < 268435455 ? 4 : 5;
}

static const char *listpack_string(struct packed *it, struct packed_entry *ret)
{
    uint8_t first = *it->p;
    size_t head = first < 0xc0 ? 1 : first < 0xf0 ? 2 : 5;

    if (left(it) < head)
        return CUT;
    size_t len = head == 1   ? first & 0x3f
                 : head == 2 ? (size_t)(first & 0x0f) << 8 | it->p[1]
                             : load32(it->p + 1);
    it->p += head;
    if (left(it) < len)
        return CUT;
    set_bytes(ret, it->p, len);
    it->p += len;
    return NULL;
}

static const char *listpack_integer(struct packed *it, struct packed_entry *ret)
{
    uint8_t first = *it->p;
    int bytes = first == 0xf1 ? 2 : first == 0xf2 ? 3 : first == 0xf3 ? 4 : first == 0xf4 ? 8 : 0;

    if (first >= 0xf0 && !bytes)
        return "an entry has no known encoding";
    if (left(it) < (first < 0x80 ? 1 : first < 0xf0 ? 2 : 1 + (size_t)bytes))
        return CUT;
    if (first < 0x80) {
        set_integer(ret, first);
        it->p += 1;
    } else if (first < 0xf0) { /* 13 bits, the top one is the sign */
        int value = (first & 0x1f) << 8 | it->p[1];
        set_integer(ret, value < 4096 ? value : value - 8192);
        it->p += 2;
    } else {
        set_integer(ret, integer_of(it->p + 1, bytes));
        it->p += 1 + bytes;
    }
    return NULL;
}

static const char *listpack_next(struct packed *it, struct packed_entry *ret)
{
    const uint8_t *start = it->p;
    uint8_t first = *start;
    bool string = (first >= 0x80 && first < 0xc0) || (first >= 0xe0 && first <= 0xf0);
    const char *why = string ? listpack_string(it, ret) : listpack_integer(it, ret);

    if (why)
        return why;
    size_t len = (size_t)(it->p - start), back = 0, back_bytes = listpack_back_bytes(len);
    if (left(it) < back_bytes)
        return CUT;
    for (size_t i = 0; i < back_bytes; i++) {
        if (!!(it->p[i] & 0x80) != (i > 0))
            return "an entry's back-length is wrong";
        back = back << 7 | (it->p[i] & 0x7f);
    }
    if (back != len)
        return "an entry's back-length is wrong";
    it->p += back_bytes;
    return NULL;
}

static const char *intset_next(struct packed *it, struct packed_entry *ret)
{
    int64_t value = integer_of(it->p, (int)it->width);

    if (it->count && value <= it->last)
        return "its integers are not in order";
    it->last = value;
    set_integer(ret, value);
    it->p += it->width;
    return NULL;
}

static const char *zipmap_next(struct packed *it, struct packed_entry *ret)
{
    bool value = it->value_next;
    size_t head = *it->p == 254 ? 5 : 1;

    if (*it->p == END_MARK)
        return "its end mark is before its end";
    if (left(it) < head + value)
        return CUT;
    size_t len = head == 5 ? load32(it->p + 1) : *it->p;
    it->p += head;
    size_t unused = value ? *it->p++ : 0;
    if (left(it) < len || left(it) - len < unused)
        return CUT;
    set_bytes(ret, it->p, len);
    it->p += len + unused;
    it->value_next = !value;
    return NULL;
}

const char *packed_next(struct packed *it, struct packed_entry *ret)
{
    const char *why = NULL;

    if (it->p == it->end) {
        it->at_end = true;
        if (it->counted && it->count != it->claimed)
            return "its number of entries differs from its header";
        return NULL;
    }
    switch (it->packing) {
    case PACKED_ZIPLIST:
        why = ziplist_next(it, ret);
        break;
    case PACKED_LISTPACK:
        why = listpack_next(it, ret);
        break;
    case PACKED_INTSET:
        why = intset_next(it, ret);
        break;
    case PACKED_ZIPMAP:
        why = zipmap_next(it, ret);
        break;
    case PACKED_NONE:
        why = "it is not packed";
        break;
    }
    it->count++;
    return why;
}
