/*
 * Changes that a command makes itself, without an engine: they are said on stderr, in the
 * form of the engine's own audit. What fails changes nothing, and is said anyway.
 */
#include "cli/cli_priv.h"

#include "base/log.h"

#include <stdio.h>
#include <unistd.h>

void cli_audit(const char *action, const char *target)
{
    char who[32];

    snprintf(who, sizeof who, "uid:%u", (unsigned)getuid());
    log_audit(&(struct log_audit){
        .action = action, .outcome = "done", .who = who, .target = target, .from = "command"});
}
