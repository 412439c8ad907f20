#ifndef RECLUSTER_MEM_H
#define RECLUSTER_MEM_H

/*
 * Memory.
 *
 * These functions never return NULL. If memory runs out, the process prints one line and exits with
 * status 71 (under a memory limit with an error: memory_limit.h). On a bug it exits with 70.
 * Neither writes a core file, which would hold passwords. Check a size that comes from a file or a
 * peer against a limit before you pass it to these functions. Free all results with free(3).
 *
 * An arena owns many small objects that are freed together (a model read from the state file, a
 * plan): arena_init(), any number of arena_...(), arena_release(). Single objects are never freed.
 * arena_clear() empties an arena that is used again.
 */

#include <stdarg.h>
#include <stddef.h>

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define MUST_CHECK __attribute__((warn_unused_result))

/* Runs `fn(&variable)` when the variable leaves its scope. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

__attribute__((noreturn)) void die_of_bug(const char *fmt, ...) PRINTF_LIKE(1, 2);
__attribute__((noreturn)) void die_of_memory(size_t bytes); /* 0: unknown how many */
extern void (*mem_exhausted)(size_t bytes); /* called first; memory_limit.c sets it; or NULL */

void *xmalloc(size_t bytes);
void *xcalloc(size_t count, size_t bytes);
void *xrealloc(void *old, size_t bytes);
void *xreallocarray(void *old, size_t count, size_t bytes);
void *xchecked(void *p, size_t bytes);       /* checks a result of another allocator; 0: unknown */
void *xmemdup(const void *data, size_t len); /* len bytes and a NUL after them */
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t max);
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);
char *xvasprintf(const char *fmt, va_list args) PRINTF_LIKE(1, 0);

/* Before the declaration of a pointer: frees what it points to when it leaves its scope. */
#define AUTO_FREE CLEANUP(free_ptr)
void free_ptr(void *pointer_to_pointer);

/* Makes room for one more item: `GROW(items, count, alloc)` before `items[count++] = …`. */
#define GROW(items, count, alloc)                                                                  \
    do {                                                                                           \
        if ((count) == (alloc)) {                                                                  \
            (alloc) = (alloc) ? 2 * (alloc) : 8;                                                   \
            (items) = xreallocarray((items), (alloc), sizeof(*(items)));                           \
        }                                                                                          \
    } while (0)

struct arena_chunk;
struct arena {
    struct arena_chunk *chunks;
};

#define ARENA_INIT                                                                                 \
    {                                                                                              \
        .chunks = NULL                                                                             \
    }
void arena_init(struct arena *arena);
void arena_release(struct arena *arena);
void arena_clear(struct arena *arena); /* frees all objects, keeps some memory for the next */
void *arena_alloc(struct arena *arena, size_t bytes); /* zeroed, aligned for any type */
void *arena_memdup(struct arena *arena, const void *data, size_t len); /* adds a NUL */
char *arena_strdup(struct arena *arena, const char *s);                /* NULL stays NULL */
char *arena_printf(struct arena *arena, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
