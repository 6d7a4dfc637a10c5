/* SPDX-License-Identifier: MIT */
#include "trees.h"

#include <unistd.h>

static char log_text[65536];

static void keep(int level, const char *line, void *data)
{
    size_t length = strlen(log_text);

    (void)level;
    (void)data;
    snprintf(log_text + length, sizeof(log_text) - length, "%s\n", line);
}

void tree_log_start(void)
{
    log_text[0] = '\0';
    dk_log_set_sink(keep, NULL);
    dk_log_set_level(2);
}

const char *tree_log(void)
{
    return log_text;
}

void *tree_room(size_t size)
{
    void *room = malloc(size ? size : 1);

    if (!room)
        abort();
    return room;
}

void *tree_compile(const char *source, size_t *size)
{
    char path[] = "/tmp/dmakit-tree-XXXXXX", command[128];
    int fd = mkstemp(path);
    char *blob = tree_room(1 << 20);
    FILE *output;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, source, strlen(source)), strlen(source));
    close(fd);
    snprintf(command, sizeof(command), "dtc -f -q -q -I dts -O dtb -o - %s 2>&-", path);
    output = popen(command, "r");
    assert_non_null(output);
    *size = fread(blob, 1, 1 << 20, output);
    pclose(output);
    unlink(path);
    if (!*size)
        fail_msg("dtc does not take: %s", source);
    return blob;
}

struct dk_board *tree_board(const char *source)
{
    size_t size;
    void *blob = tree_compile(source, &size);
    struct dk_board *board;

    tree_log_start();
    board = dk_board_parse(blob, size);
    free(blob);
    return board;
}

void tree_logged(const char *name, const char *node, const char *reason)
{
    const char *line = log_text;
    size_t length = strlen(node);

    while (*line) {
        size_t end = strcspn(line, "\n");
        const char *found = strstr(line, reason);

        if (!strncmp(line, node, length) && line[length] == ':' && found && found < line + end)
            return;
        line += end + (line[end] != '\0');
    }
    fail_msg("%s: no line \"%s: …%s…\" in the log:\n%s", name, node, reason, log_text);
}

const struct dk_node *tree_node(const struct dk_board *board, const char *path)
{
    unsigned i;

    for (i = 0; i < board->node_count; i++)
        if (!strcmp(board->nodes[i].path, path))
            return &board->nodes[i];
    fail_msg("no node %s", path);
    return NULL;
}

const struct dk_reserved *tree_region(const struct dk_board *board, const char *node)
{
    unsigned i;

    for (i = 0; i < board->reserved_count; i++)
        if (!strcmp(board->reserved[i].node, node))
            return &board->reserved[i];
    fail_msg("no region %s", node);
    return NULL;
}
