/*
 * The two states of files and names, and what a power cut makes of them.
 */
#include "support/fault_disk_priv.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

uint64_t fault_pick(struct fault_disk *faults, uint64_t below)
{
    faults->random ^= faults->random << 13;
    faults->random ^= faults->random >> 7;
    faults->random ^= faults->random << 17;
    return faults->random % below;
}

struct name *fault_find(struct names *names, const char *path)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->list[i].path, path) == 0)
            return &names->list[i];
    }
    return NULL;
}

static void forget(struct names *names, const char *path)
{
    struct name *name = fault_find(names, path);

    if (name == NULL)
        return;
    free(name->path);
    *name = names->list[--names->count];
}

void fault_apply(struct names *names, const struct change *change)
{
    if (change->from != NULL)
        forget(names, change->from);
    if (change->to == NULL)
        return;
    forget(names, change->to);
    names->list = mem_realloc(names->list, (names->count + 1) * sizeof *names->list);
    names->list[names->count++] = (struct name){mem_strdup(change->to), change->inode};
}

static void names_free(struct names *names)
{
    while (names->count > 0)
        free(names->list[--names->count].path);
    free(names->list);
    *names = (struct names){0};
}

/* Whether `path` is an entry of `folder`. */
bool fault_is_in(const char *path, const char *folder)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? strcmp(folder, ".") == 0
                         : strlen(folder) == (size_t)(slash - path) &&
                               strncmp(path, folder, (size_t)(slash - path)) == 0;
}

void fault_change_names(struct fault_disk *faults, const char *from, const char *to,
                        struct inode *inode)
{
    struct change **end = &faults->changes;
    struct change *change = mem_zalloc(sizeof *change);

    change->from = from != NULL ? mem_strdup(from) : NULL;
    change->to = to != NULL ? mem_strdup(to) : NULL;
    change->inode = inode;
    fault_apply(&faults->seen, change);
    while (*end != NULL)
        end = &(*end)->next;
    *end = change;
}

void fault_change_free(struct change *change)
{
    free(change->from);
    free(change->to);
    free(change);
}

struct inode *fault_inode_new(struct fault_disk *faults, bool folder)
{
    struct inode *inode = mem_zalloc(sizeof *inode);

    inode->folder = folder;
    inode->next = faults->inodes;
    faults->inodes = inode;
    return inode;
}

void fault_mark(struct inode *inode, uint64_t from, uint64_t to)
{
    for (uint64_t at = from / SECTOR; at * SECTOR < to; at++)
        inode->dirty[at] = true;
}

void fault_resize(struct inode *inode, size_t size)
{
    size_t room = (size + SECTOR - 1) / SECTOR * SECTOR;
    size_t old = inode->size;

    if (room > inode->room) {
        inode->seen = mem_realloc(inode->seen, room);
        inode->durable = mem_realloc(inode->durable, room);
        inode->dirty = mem_realloc(inode->dirty, room / SECTOR);
        memset(inode->seen + inode->room, 0, room - inode->room);
        memset(inode->durable + inode->room, 0, room - inode->room);
        memset(inode->dirty + inode->room / SECTOR, 0, (room - inode->room) / SECTOR);
        inode->room = room;
    }
    if (size < old) {
        memset(inode->seen + size, 0, old - size);
        fault_mark(inode, size, old);
    }
    inode->size = size;
}

/* Some of the last changes of names survive, and what lies in a folder that did not is gone. */
static void cut_names(struct fault_disk *faults)
{
    bool survives = true;

    while (faults->changes != NULL) {
        struct change *change = faults->changes;

        survives = survives && fault_pick(faults, 3) != 0;
        if (survives)
            fault_apply(&faults->durable, change);
        faults->changes = change->next;
        fault_change_free(change);
    }
    names_free(&faults->seen);
    for (size_t i = 0; i < faults->durable.count; i++) {
        struct name *name = &faults->durable.list[i];
        bool reachable = strchr(name->path, '/') == NULL;

        for (size_t j = 0; j < faults->durable.count && !reachable; j++)
            reachable = fault_is_in(name->path, faults->durable.list[j].path);
        if (reachable)
            fault_apply(&faults->seen, &(struct change){.to = name->path, .inode = name->inode});
    }
}

static void cut_file(struct fault_disk *faults, struct inode *inode)
{
    uint64_t mood = fault_pick(faults, 4); /* all lost, all kept, or each as it comes */

    if (inode->room == 0)
        return;
    for (size_t at = 0; at < inode->room; at += SECTOR) {
        size_t kept = 0;

        if (!inode->dirty[at / SECTOR])
            continue;
        inode->dirty[at / SECTOR] = false;
        if (mood == 1)
            kept = SECTOR;
        else if (mood >= 2)
            kept = (size_t[]){0, SECTOR, fault_pick(faults, SECTOR)}[fault_pick(faults, 3)];
        memcpy(inode->durable + at, inode->seen + at, kept);
    }
    if (mood != 0 && fault_pick(faults, 2) == 0)
        inode->durable_size = inode->size;
    memcpy(inode->seen, inode->durable, inode->room);
    inode->size = inode->durable_size;
    memset(inode->seen + inode->size, 0, inode->room - inode->size); /* nothing behind the end */
}

void fault_cut_power(struct fault_disk *faults)
{
    cut_names(faults);
    for (struct inode *inode = faults->inodes; inode != NULL; inode = inode->next)
        cut_file(faults, inode);
}

void fault_free_files(struct fault_disk *faults)
{
    while (faults->inodes != NULL) {
        struct inode *inode = faults->inodes;

        faults->inodes = inode->next;
        free(inode->seen);
        free(inode->durable);
        free(inode->dirty);
        free(inode);
    }
    while (faults->changes != NULL) {
        struct change *change = faults->changes;

        faults->changes = change->next;
        fault_change_free(change);
    }
    names_free(&faults->seen);
    names_free(&faults->durable);
}
