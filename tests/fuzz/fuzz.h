#ifndef RECLUSTER_FUZZ_H
#define RECLUSTER_FUZZ_H

/*
 * Each fuzz_*.c defines the function that libFuzzer calls (run.sh), and that replay.c calls with
 * the files of the corpus. What must hold is FUZZ_ASSERTed.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_ASSERT(condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);          \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
