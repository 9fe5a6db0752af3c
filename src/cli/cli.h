/*
 * The commands. Exit codes: 0 success, 1 the operation failed, 2 wrong usage (one line on
 * stderr that says what to do).
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

int cli_main(int argc, char **argv, char *const *environment);

#endif
