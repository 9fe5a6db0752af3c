/*
 * The words for what is wrong: once for programs (`loc`), once for people (`field`).
 */
#include "ingest/ingest_priv.h"

#include <stdio.h>

static int finish(struct ingest_fault *fault, const char *type, const char *message)
{
    fault->type = type;
    snprintf(fault->message, sizeof fault->message, "%s", message);
    return ERR_INVALID;
}

int ingest_fault_whole(struct ingest_fault *fault, const char *type, const char *message)
{
    fault->loc[0] = '\0';
    fault->field[0] = '\0';
    return finish(fault, type, message);
}

int ingest_fault_member(struct ingest_fault *fault, const char *member, const char *type,
                        const char *message)
{
    snprintf(fault->loc, sizeof fault->loc, "\"%s\"", member);
    snprintf(fault->field, sizeof fault->field, "%s", member);
    return finish(fault, type, message);
}

int ingest_fault_datapoint(struct ingest_fault *fault, uint32_t index, const char *member,
                           const char *type, const char *message)
{
    if (member == NULL) {
        snprintf(fault->loc, sizeof fault->loc, "\"data\",%u", index);
        snprintf(fault->field, sizeof fault->field, "data[%u]", index);
    } else {
        snprintf(fault->loc, sizeof fault->loc, "\"data\",%u,\"%s\"", index, member);
        snprintf(fault->field, sizeof fault->field, "data[%u].%s", index, member);
    }
    return finish(fault, type, message);
}
