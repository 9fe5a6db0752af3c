/*
 * What the two forms of lines share.
 */
#ifndef BASE_LOG_PRIV_H
#define BASE_LOG_PRIV_H

#include <stdbool.h>
#include <stddef.h>

/* Are lines JSON? */
bool log_is_json(void);

/* Writes a whole line with its newline, of PIPE_BUF bytes at most, if that need not wait. */
void log_line(const char *line, size_t len);

#endif
