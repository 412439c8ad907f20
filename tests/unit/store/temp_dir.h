#ifndef TEST_TEMP_DIR_H
#define TEST_TEMP_DIR_H

/* A new folder for one test; ended with temp_dir_remove(), which frees the path too. */

#include <stddef.h>

char *temp_dir_make(void);
void temp_dir_remove(char *path);

/* Writes a file in it. */
void temp_file(const char *dir, const char *name, const void *data, size_t len);

/* Whether dir has it, and that it holds just these bytes. */
int temp_file_is(const char *dir, const char *name, const void *data, size_t len);

#endif
