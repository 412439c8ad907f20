#include "recluster/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void die_of_bug(const char *fmt, ...)
{
    va_list args;

    fputs("recluster: bug: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    _exit(70);
}

void (*mem_exhausted)(size_t bytes);

void die_of_memory(size_t bytes)
{
    if (mem_exhausted)
        mem_exhausted(bytes);
    if (bytes)
        fprintf(stderr, "recluster: out of memory (%zu bytes)\n", bytes);
    else
        fputs("recluster: out of memory\n", stderr);
    _exit(71);
}

void *xchecked(void *p, size_t bytes)
{
    if (!p)
        die_of_memory(bytes);
    return p;
}

void *xmalloc(size_t bytes)
{
    return xchecked(malloc(bytes ? bytes : 1), bytes);
}

void *xcalloc(size_t count, size_t bytes)
{
    return xchecked(calloc(count ? count : 1, bytes ? bytes : 1), bytes);
}

void *xrealloc(void *old, size_t bytes)
{
    return xchecked(realloc(old, bytes ? bytes : 1), bytes);
}

void *xreallocarray(void *old, size_t count, size_t bytes)
{
    return xchecked(reallocarray(old, count ? count : 1, bytes ? bytes : 1), bytes);
}

void *xmemdup(const void *data, size_t len)
{
    char *copy = xmalloc(len + 1);
    if (len)
        memcpy(copy, data, len);
    copy[len] = '\0';
    return copy;
}

char *xstrdup(const char *s)
{
    return xmemdup(s, strlen(s));
}

char *xstrndup(const char *s, size_t max)
{
    return xmemdup(s, strnlen(s, max));
}

char *xvasprintf(const char *fmt, va_list args)
{
    char *text;
    if (vasprintf(&text, fmt, args) < 0)
        xchecked(NULL, 0);
    return text;
}

char *xasprintf(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *text = xvasprintf(fmt, args);
    va_end(args);
    return text;
}

void free_ptr(void *pointer_to_pointer)
{
    void *p;
    memcpy(&p, pointer_to_pointer, sizeof(p));
    free(p);
}

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, size;
    _Alignas(max_align_t) unsigned char data[];
};

enum { ARENA_CHUNK_BYTES = 64 * 1024 };

void arena_init(struct arena *arena)
{
    arena->chunks = NULL;
}

void arena_release(struct arena *arena)
{
    while (arena->chunks) {
        struct arena_chunk *next = arena->chunks->next;
        free(arena->chunks);
        arena->chunks = next;
    }
}

void arena_clear(struct arena *arena)
{
    struct arena_chunk *kept = NULL;

    while (arena->chunks) {
        struct arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        if (kept || chunk->size != ARENA_CHUNK_BYTES) {
            free(chunk);
            continue;
        }
        memset(chunk->data, 0, chunk->used);
        chunk->used = 0;
        chunk->next = NULL;
        kept = chunk;
    }
    arena->chunks = kept;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    const size_t align = _Alignof(max_align_t);
    struct arena_chunk *chunk = arena->chunks;

    bytes = (bytes + align - 1) / align * align;
    if (!chunk || chunk->size - chunk->used < bytes) {
        size_t size = bytes > ARENA_CHUNK_BYTES ? bytes : ARENA_CHUNK_BYTES;
        chunk = xcalloc(1, sizeof(*chunk) + size);
        chunk->size = size;
        chunk->next = arena->chunks;
        arena->chunks = chunk;
    }
    void *p = chunk->data + chunk->used;
    chunk->used += bytes;
    return p;
}

void *arena_memdup(struct arena *arena, const void *data, size_t len)
{
    char *copy = arena_alloc(arena, len + 1);
    if (len)
        memcpy(copy, data, len);
    return copy;
}

char *arena_strdup(struct arena *arena, const char *s)
{
    return s ? arena_memdup(arena, s, strlen(s)) : NULL;
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *text = xvasprintf(fmt, args);
    va_end(args);
    char *copy = arena_strdup(arena, text);
    free(text);
    return copy;
}
