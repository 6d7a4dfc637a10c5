/* SPDX-License-Identifier: MIT */
/*
 * Boards from files and from damaged bytes; what happens when memory runs out; how time grows.
 * Takes the folder with the own boards as its argument.
 */
#include "trees.h"

#include <dirent.h>
#include <dmakit/fail.h>
#include <fcntl.h>
#include <libfdt.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *boards_folder;
static char folder[] = "/tmp/dmakit-boards-XXXXXX";

static void write_file(const char *name, const void *bytes, size_t size, char *path)
{
    FILE *file;

    sprintf(path, "%s/%s", folder, name);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

/* How many of the first descriptors are open. */
static unsigned descriptors(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 64; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Whatever becomes of it, no descriptor is left. */
static struct dk_board *load(const char *path)
{
    unsigned before = descriptors();
    struct dk_board *board;

    tree_log_start();
    board = dk_board_load(path);
    assert_int_equal(descriptors(), before);
    return board;
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    char command[64];

    (void)state;
    sprintf(command, "rm -rf %s", folder);
    return system(command);
}

static void test_own_boards(void **state)
{
    DIR *list = opendir(boards_folder);
    struct dirent *entry;
    unsigned count = 0, i;

    (void)state;
    assert_non_null(list);
    while ((entry = readdir(list))) {
        char path[512];
        struct dk_board *board;
        int nic;

        if (!strstr(entry->d_name, ".dts"))
            continue;
        snprintf(path, sizeof(path), "%s/%s", boards_folder, entry->d_name);
        board = load(path);
        if (IS_ERR(board))
            fail_msg("%s: %s", path, tree_log());
        count++;
        nic = dk_board_find(board, "nic");
        assert_true(nic > 0 && board->nodes[nic].enabled);
        assert_string_equal(board->nodes[nic].compatible[0], "dmakit,ring-nic");
        assert_true(board->default_bus > 0);
        for (i = 0; i < board->reserved_count; i++)
            if (board->reserved[i].reason)
                fail_msg("%s: %s failed", path, board->reserved[i].node);
        dk_board_free(board);
    }
    closedir(list);
    assert_int_equal(count, 7);
}

static void test_hostile(void **state)
{
    static const struct {
        const char *alias;
        bool coherent, iommu, bounce;
        unsigned windows;
    } buses[] = {
        { "coherent", true, false, false, 0 }, { "noncoherent", false, false, false, 0 },
        { "offset", false, false, false, 2 },  { "iommu", false, true, false, 0 },
        { "narrow", false, false, false, 1 },  { "bounce", false, false, true, 0 },
    };
    struct dk_board *board = dk_board_hostile();
    size_t i;

    (void)state;
    assert_false(IS_ERR(board));
    assert_string_equal(board->nodes[board->default_bus].path,
                        board->nodes[dk_board_find(board, "iommu")].path);
    assert_true(board->memory[board->memory_count - 1].base >= 1ull << 32);
    for (i = 0; i < sizeof(buses) / sizeof(buses[0]); i++) {
        const struct dk_node *node = &board->nodes[dk_board_find(board, buses[i].alias)];

        assert_true(node->enabled);
        assert_int_equal(node->coherent, buses[i].coherent);
        assert_int_equal(node->iommu >= 0, buses[i].iommu);
        assert_int_equal(node->window_count, buses[i].windows);
        assert_int_equal(node->region_count, buses[i].bounce);
        if (buses[i].bounce)
            assert_int_equal(board->reserved[node->regions[0]].kind, DK_RESERVED_RESTRICTED);
    }
    dk_board_free(board);
}

static void test_load(void **state)
{
    static const char source[] = "/dts-v1/; /include/ \"part.dtsi\" / { model = \"whole\"; };";
    static const char part[] = "/ { included { }; };";
    struct dk_board *board;
    char path[512], link[512];
    size_t size;
    void *blob;

    (void)state;
    write_file("part.dtsi", part, sizeof(part) - 1, path);
    write_file("-whole.dts", source, sizeof(source) - 1, path);
    board = load(path);
    assert_false(IS_ERR(board));
    assert_string_equal(board->model, "whole");
    assert_int_equal(dk_board_find(board, "/included"), 1);
    dk_board_free(board);
    /* A name without a folder, and one that looks like an option. */
    assert_int_equal(chdir(folder), 0);
    board = load("-whole.dts");
    assert_false(IS_ERR(board));
    dk_board_free(board);

    blob = tree_compile("/dts-v1/; / { model = \"blob\"; };", &size);
    write_file("blob.dts", blob, size, path); /* its content counts, not its name */
    board = load(path);
    assert_false(IS_ERR(board));
    assert_string_equal(board->model, "blob");
    dk_board_free(board);
    write_file("short.dtb", blob, size - 1, path);
    board = load(path);
    assert_int_equal(PTR_ERR(board), -EINVAL);
    tree_logged("truncated", path, "truncated");
    free(blob);

    /* What went wrong before in this thread has nothing to do with it. */
    errno = EINTR;
    board = load("-whole.dts");
    assert_false(IS_ERR(board));
    dk_board_free(board);

    sprintf(link, "%s/none.dtb", folder);
    board = load(link);
    assert_int_equal(PTR_ERR(board), -ENOENT);
    tree_logged("none", link, "No such file");
    board = load(folder);
    assert_int_equal(PTR_ERR(board), -EINVAL);
    write_file("empty", "", 0, path);
    board = load(path);
    assert_int_equal(PTR_ERR(board), -EINVAL);
    tree_logged("empty", path, "dtc refuses it");
    write_file("text", "no tree", 7, path);
    board = load(path);
    assert_int_equal(PTR_ERR(board), -EINVAL);
    tree_logged("text", path, "syntax error");
    if (geteuid()) {
        chmod(path, 0);
        board = load(path);
        assert_int_equal(PTR_ERR(board), -EACCES);
    }
}

/* A copy of $PATH, for free(). */
static char *kept_path(void)
{
    const char *path = getenv("PATH");
    char *copy = strdup(path ? path : "");

    assert_non_null(copy);
    return copy;
}

static void test_no_dtc(void **state)
{
    char path[512], *kept = kept_path();
    struct dk_board *board;

    (void)state;
    write_file("a.dts", "/dts-v1/; / { };", 16, path);
    setenv("PATH", folder, 1);
    board = load(path);
    setenv("PATH", kept, 1);
    free(kept);
    assert_int_equal(PTR_ERR(board), -ENOEXEC);
    tree_logged("no dtc", path, "not installed");
}

/* Closes the first @count of the standard descriptors, and keeps them in @kept. */
static void close_standard(int *kept, int count)
{
    fflush(NULL);
    for (int fd = 0; fd < count; fd++) {
        kept[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 64);
        assert_true(kept[fd] >= 0);
        close(fd);
    }
}

static void open_standard(const int *kept, int count)
{
    for (int fd = 0; fd < count; fd++) {
        dup2(kept[fd], fd);
        close(kept[fd]);
    }
}

/* A daemon has closed its standard descriptors: the pipes have their numbers then. */
static void test_descriptors_from_zero_on(void **state)
{
    char path[512], *path_kept = kept_path();
    struct dk_board *board;

    (void)state;
    write_file("e.dts", "/dts-v1/; / { };", 16, path);
    tree_log_start();
    for (int closed = 0; closed <= 3; closed++) {
        unsigned before, after;
        int kept[3];

        setenv("PATH", folder, 1);
        close_standard(kept, closed);
        before = descriptors();
        board = dk_board_load(path);
        after = descriptors();
        open_standard(kept, closed);
        setenv("PATH", path_kept, 1);
        assert_int_equal(PTR_ERR(board), -ENOEXEC);
        assert_int_equal(after, before);
    }
    free(path_kept);
}

/* A program that ignores its children's ends is not told how dtc ended; the blob says enough. */
static void test_children_ignored(void **state)
{
    char path[512];
    struct dk_board *board;

    (void)state;
    write_file("b.dts", "/dts-v1/; / { };", 16, path);
    signal(SIGCHLD, SIG_IGN);
    board = load(path);
    assert_false(IS_ERR(board));
    dk_board_free(board);
    write_file("c.dts", "/dts-v1/; / { ", 14, path);
    board = load(path);
    signal(SIGCHLD, SIG_DFL);
    assert_int_equal(PTR_ERR(board), -EINVAL);
}

/* Endless or enormous output is cut off, and messages without end do not block. */
static void test_wild_dtc(void **state)
{
    static const char flood[] = "#!/bin/sh\nexec cat /dev/zero\n";
    static const char chatter[] = "#!/bin/sh\nhead -c 300000 /dev/zero >&2\necho >&2\nexit 1\n";
    char path[512], script[512], first[512], *kept = kept_path(), *with = NULL, *late = NULL;
    struct dk_board *board;
    size_t size;
    void *blob;

    (void)state;
    write_file("d.dts", "/dts-v1/; / { };", 16, path);
    assert_true(asprintf(&with, "%s:%s", folder, kept) > 0);
    setenv("PATH", with, 1);
    write_file("dtc", flood, sizeof(flood) - 1, script);
    chmod(script, 0755);
    board = load(path);
    assert_int_equal(PTR_ERR(board), -EINVAL);
    tree_logged("flood", path, "more than 64 MiB");
    /* Also when what comes first is a board. */
    blob = tree_compile(TREE(""), &size);
    write_file("first.dtb", blob, size, first);
    free(blob);
    assert_true(asprintf(&late, "#!/bin/sh\ncat %s\nexec cat /dev/zero\n", first) > 0);
    write_file("dtc", late, strlen(late), script);
    free(late);
    board = load(path);
    assert_int_equal(PTR_ERR(board), -EINVAL);
    tree_logged("late flood", path, "more than 64 MiB");
    /* What there was of it is not read. */
    assert_string_equal(strchr(tree_log(), '\n'), "\n");
    write_file("dtc", chatter, sizeof(chatter) - 1, script);
    board = load(path);
    assert_int_equal(PTR_ERR(board), -EINVAL);
    tree_logged("chatter", path, "without a reason");
    unlink(script);
    setenv("PATH", kept, 1);
    free(with);
    free(kept);
}

/* Whatever can be done with a board, so that damaged ones are walked as well. */
static void use(struct dk_board *board)
{
    struct dk_board *other;

    if (IS_ERR(board)) {
        assert_int_equal(PTR_ERR(board), -EINVAL);
        return;
    }
    free(dk_board_json(board));
    dk_board_find(board, "/soc/x");
    other = dk_board_with_memory(board, "1G@0x80000000");
    if (!IS_ERR(other))
        dk_board_free(other);
    dk_board_free(board);
}

static void test_header(void **state)
{
    static const struct {
        unsigned offset;
        u32 value;
        const char *reason;
    } changes[] = {
        { 0, 0xd00dfeee, "does not start with 0xd00dfeed" },
        { 4, 0x7fffffff, "truncated" },
        { 4, 20, "FDT_ERR_TRUNCATED" },
        { 8, 0x7fffffff, "FDT_ERR_TRUNCATED" },
        { 12, 0x7fffffff, "FDT_ERR_TRUNCATED" },
        { 16, 0x7ffffff8, "FDT_ERR_TRUNCATED" },
        { 20, 15, "older than 16" },
        { 24, 18, "FDT_ERR_BADVERSION" },
        { 32, 0, "outside the strings block" },
        { 36, 4, "FDT_ERR" },
    };
    size_t size, i;
    unsigned char *blob = tree_compile(TREE("a { };"), &size);
    fdt32_t kept;

    (void)state;
    for (i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        fdt32_t value = cpu_to_fdt32(changes[i].value);
        struct dk_board *board;

        memcpy(&kept, blob + changes[i].offset, 4);
        memcpy(blob + changes[i].offset, &value, 4);
        if (changes[i].offset == 20)
            memcpy(blob + 24, &value, 4);
        tree_log_start();
        board = dk_board_parse(blob, size);
        if (PTR_ERR(board) != -EINVAL)
            fail_msg("header change %zu was taken", i);
        if (changes[i].offset != 36)
            tree_logged(changes[i].reason, "/", changes[i].reason);
        memcpy(blob + changes[i].offset, &kept, 4);
        if (changes[i].offset == 20)
            memcpy(blob + 24, &(fdt32_t){ cpu_to_fdt32(16) }, 4);
    }
    assert_int_equal(PTR_ERR(dk_board_parse(blob, 0)), -EINVAL);
    assert_int_equal(PTR_ERR(dk_board_parse(blob, 39)), -EINVAL);
    assert_int_equal(PTR_ERR(dk_board_parse(NULL, 100)), -EINVAL);
    assert_int_equal(PTR_ERR(dk_board_parse(blob, size - 1)), -EINVAL);
    use(dk_board_parse(blob, size));
    free(blob);
}

/* The structure block, tag by tag: what fdt_check_header() does not see. */
static void test_structure(void **state)
{
    enum { B = FDT_BEGIN_NODE, E = FDT_END_NODE, P = FDT_PROP, N = FDT_NOP, Z = FDT_END };
    static const struct {
        const char *name, *reason; /* NULL: fine */
        u32 cells[14];
        unsigned count;
    } cases[] = {
        { "smallest", NULL, { B, 0, E, Z }, 4 },
        { "with nops", NULL, { N, B, 0, N, P, 0, 0, N, E, N, Z }, 11 },
        { "nothing", "no nodes", { Z }, 1 },
        { "no end", "truncated", { B, 0, E }, 3 },
        { "open root", "last node does not end", { B, 0, Z }, 3 },
        { "one end too many", "a node ends that never began", { B, 0, E, E, Z }, 5 },
        { "two roots", "two roots", { B, 0, E, B, 0, E, Z }, 7 },
        { "bad tag", "truncated", { B, 0, 7, E, Z }, 5 },
        { "property after the root", "outside all nodes", { B, 0, E, P, 0, 0, Z }, 7 },
        { "property beyond the end", "truncated", { B, 0, P, 100, 0, E, Z }, 7 },
        { "huge property", "truncated", { B, 0, P, 0xffffffff, 0, E, Z }, 7 },
        { "property that ends before it starts", "truncated", { B, 0, P, 0xffffffec, 0, E, Z }, 7 },
        { "name beyond the strings", "outside the strings block", { B, 0, P, 0, 2, E, Z }, 7 },
        { "name far beyond the strings", "outside the strings block", { B, 0, P, 0, 0xffffffff, E, Z }, 7 },
        { "nameless child", "a child's name", { B, 0, B, 0, E, E, Z }, 7 },
        { "slash in a name", "a child's name", { B, 0, B, 0x612f6200, E, E, Z }, 7 },
        { "control character", "a child's name", { B, 0, B, 0x610a6200, E, E, Z }, 7 },
        { "space", "a child's name", { B, 0, B, 0x61206200, E, E, Z }, 7 },
        { "not ASCII", "a child's name", { B, 0, B, 0x61806200, E, E, Z }, 7 },
        { "two with one name",
          "/a: two nodes have this path",
          { B, 0, B, 0x61000000, E, B, 0x61000000, E, E, Z },
          10 },
        { "a child", NULL, { B, 0, B, 0x61000000, E, E, Z }, 7 },
    };
    size_t i;
    unsigned j;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fdt32_t blob[10 + 4 + 14 + 1] = { 0 };
        unsigned size = 56 + 4 * cases[i].count;
        const u32 head[] = { FDT_MAGIC, size + 2, 56, size, 40, 17, 16, 0, 2, 4 * cases[i].count };
        struct dk_board *board;

        for (j = 0; j < 10; j++)
            blob[j] = cpu_to_fdt32(head[j]);
        for (j = 0; j < cases[i].count; j++)
            blob[14 + j] = cpu_to_fdt32(cases[i].cells[j]);
        memcpy((char *)blob + size, "p", 2);
        tree_log_start();
        board = dk_board_parse(blob, size + 2);
        if (IS_ERR(board) != (cases[i].reason != NULL))
            fail_msg("%s: %ld %s", cases[i].name, IS_ERR(board) ? PTR_ERR(board) : 0, tree_log());
        if (cases[i].reason && !strstr(tree_log(), cases[i].reason))
            fail_msg("%s: %s", cases[i].name, tree_log());
        if (!IS_ERR(board))
            dk_board_free(board);
    }
}

/* Every prefix, and random damage: refused or read, never worse. */
static void test_damage(void **state)
{
    unsigned seed = 20240117, round;
    size_t size, i;
    struct dk_board *board = dk_board_hostile();
    unsigned char *blob, *copy;

    (void)state;
    print_message("seed %u\n", seed);
    assert_false(IS_ERR(board));
    size = board->blob_size;
    blob = tree_room(size);
    copy = tree_room(size);
    memcpy(blob, board->blob, size);
    dk_board_free(board);
    tree_log_start();
    dk_log_set_level(-1);
    for (i = 0; i < size; i++) {
        /* An exact copy, so that a sanitizer sees a read past the prefix. */
        unsigned char *prefix = tree_room(i);

        memcpy(prefix, blob, i);
        board = dk_board_parse(prefix, i);
        free(prefix);
        assert_int_equal(PTR_ERR(board), -EINVAL);
    }
    for (round = 0; round < 3000; round++) {
        memcpy(copy, blob, size);
        for (i = 0; i <= round % 5; i++) {
            unsigned at = (unsigned)rand_r(&seed) % (unsigned)size;

            copy[at] = round % 2 ? (unsigned char)rand_r(&seed)
                                 : (unsigned char)(copy[at] ^ 1u << rand_r(&seed) % 8);
        }
        use(dk_board_parse(copy, size));
    }
    free(blob);
    free(copy);
}

/* The @n-th allocation fails, n = 1, 2, 3… until none does: an error, nothing lost (a sanitizer looks), no
 * crash. */
static void test_each_allocation_fails(void **state)
{
    char path[512];
    unsigned long n, reached;

    (void)state;
    snprintf(path, sizeof(path), "%s/arm-soc-iommu.dts", boards_folder);
    tree_log_start();
    for (n = 1;; n++) {
        struct dk_board *board, *other = NULL;
        char *json = NULL;
        bool failed;

        dk_fail_nth(n);
        board = dk_board_load(path);
        if (!IS_ERR(board)) {
            json = dk_board_json(board);
            other = dk_board_with_memory(board, "3G@0x80000000");
        }
        reached = dk_fail_hits();
        dk_fail_nth(0);
        failed = IS_ERR(board) || !json || IS_ERR(other);
        if (IS_ERR(board))
            assert_int_equal(PTR_ERR(board), -ENOMEM);
        else
            dk_board_free(board);
        if (IS_ERR_OR_NULL(other))
            assert_true(!other || PTR_ERR(other) == -ENOMEM);
        else
            dk_board_free(other);
        free(json);
        assert_int_equal(failed, reached);
        if (!reached)
            break;
    }
    assert_true(n > 20);
}

/* A tree whose every list is long enough to be an allocation of its own; for free(). */
static void *wide_tree(size_t *size)
{
    enum { NODES = 600, REGIONS = 20, ROWS = 64, ENTRIES = 1100 };
    char *source = NULL, *blob;
    unsigned i, j;
    FILE *out = open_memstream(&source, size);

    fputs("/dts-v1/; / { #address-cells = <1>; #size-cells = <1>; compatible = \"c\"", out);
    for (i = 0; i < NODES; i++)
        fprintf(out, ", \"c%u\"", i);
    fputs("; " MEMORY "reserved-memory { #address-cells = <1>; #size-cells = <1>; ranges; ", out);
    for (i = 0; i < REGIONS; i++) {
        fprintf(out, "r%u: r%u { size = <0x1000>; alloc-ranges = <0x40000000 0x1000000>", i, i);
        for (j = 1; j < ROWS; j++)
            fprintf(out, ", <0x%x 0x1000>", 0x50000000 + (i * ROWS + j) * 0x1000);
        fputs("; }; ", out);
    }
    fputs("}; soc { #address-cells = <1>; #size-cells = <1>; dma-ranges = <0 0x40000000 0x1000>", out);
    for (i = 1; i < ROWS; i++)
        fprintf(out, ", <0x%x 0x%x 0x1000>", i * 0x2000, 0x40000000 + i * 0x1000);
    fputs("; mmu: mmu { #iommu-cells = <1>; }; wide { memory-region = <&r0>", out);
    for (i = 1; i < ENTRIES; i++)
        fprintf(out, ", <&r%u>", i % REGIONS);
    fputs("; memory-region-names = \"m\"", out);
    for (i = 1; i < ENTRIES; i++)
        fprintf(out, ", \"m%u\"", i);
    fputs(
        "; }; pcie { device_type = \"pci\"; #address-cells = <3>; #size-cells = <2>; iommu-map = <0 &mmu 0 1>",
        out);
    for (i = 1; i < ROWS; i++)
        fprintf(out, ", <%u &mmu %u 1>", i, i);
    fputs("; }; ", out);
    for (i = 0; i < NODES; i++)
        fprintf(out, "n%u: n%u { iommus = <&mmu %u>; }; ", i, i, i);
    fputs("}; aliases { ", out);
    for (i = 0; i < NODES; i++)
        fprintf(out, "a%u = \"/soc/n%u\"; ", i, i);
    fputs("}; };", out);
    fclose(out);
    blob = tree_compile(source, size);
    free(source);
    return blob;
}

/* The same for a tree with long lists: where one of them fails, nothing half-read is taken for the whole. */
static void test_each_long_list_fails(void **state)
{
    struct dk_board *board;
    size_t size;
    void *blob = wide_tree(&size);
    unsigned long n, reached;
    char *whole, *json;

    (void)state;
    tree_log_start();
    board = dk_board_parse(blob, size);
    assert_false(IS_ERR(board));
    whole = dk_board_json(board);
    assert_non_null(whole);
    dk_board_free(board);
    for (n = 1;; n++) {
        dk_fail_nth(n);
        board = dk_board_parse(blob, size);
        reached = dk_fail_hits();
        dk_fail_nth(0);
        if (reached) {
            if (PTR_ERR_OR_ZERO(board) != -ENOMEM)
                fail_msg("allocation %lu failed: %d", n, PTR_ERR_OR_ZERO(board));
            continue;
        }
        assert_false(IS_ERR(board));
        json = dk_board_json(board);
        assert_string_equal(json, whole);
        free(json);
        dk_board_free(board);
        break;
    }
    assert_true(n > 20);
    free(whole);
    free(blob);
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The blob of @count nodes that all have a phandle, an alias, an IOMMU and the same crowded bus; for free().
 */
static void *crowd(unsigned count, int *size)
{
    char *blob = tree_room((size_t)count * 160 + 65536), name[32], path[64];
    unsigned i;

    *size = (int)(count * 160 + 65536);
    assert_int_equal(fdt_create(blob, *size), 0);
    fdt_finish_reservemap(blob);
    fdt_begin_node(blob, "");
    fdt_property_u32(blob, "#address-cells", 1);
    fdt_property_u32(blob, "#size-cells", 1);
    fdt_begin_node(blob, "aliases");
    for (i = 0; i < 1000; i++) {
        sprintf(name, "a%u", i);
        sprintf(path, "/soc/n%u", i * (count / 1000));
        fdt_property_string(blob, name, path);
    }
    fdt_end_node(blob);
    fdt_begin_node(blob, "soc");
    fdt_property_u32(blob, "#iommu-cells", 0);
    fdt_property_u32(blob, "phandle", count + 1);
    for (i = 0; i < count; i++) {
        sprintf(name, "n%u", i);
        fdt_begin_node(blob, name);
        fdt_property_u32(blob, "phandle", i + 1);
        fdt_property_u32(blob, "iommus", count + 1);
        fdt_property_u32(blob, "memory-region", i + 1);
        fdt_end_node(blob);
    }
    fdt_end_node(blob);
    fdt_end_node(blob);
    assert_int_equal(fdt_finish(blob), 0);
    *size = (int)fdt_totalsize(blob);
    return blob;
}

static void test_crowded_tree(void **state)
{
    double start = seconds();
    int size;
    void *blob = crowd(100000, &size);
    struct dk_board *board = dk_board_parse(blob, (size_t)size);
    char *json;

    (void)state;
    assert_false(IS_ERR(board));
    assert_int_equal(board->node_count, 100003);
    assert_int_equal(board->alias_count, 1000);
    json = dk_board_json(board);
    assert_non_null(json);
    free(json);
    dk_board_free(board);
    free(blob);
    /* Less than a second without sanitizers; the square of the nodes would be minutes. */
    assert_true(seconds() - start < 30);

    blob = crowd(262141, &size);
    board = dk_board_parse(blob, (size_t)size);
    assert_false(IS_ERR(board));
    dk_board_free(board);
    free(blob);
    blob = crowd(262142, &size);
    tree_log_start();
    assert_int_equal(PTR_ERR(dk_board_parse(blob, (size_t)size)), -EINVAL);
    tree_logged("crowd", "/", "more than 262144 nodes");
    free(blob);
}

/* As many regions as there may be, and one more. */
static void test_region_limit(void **state)
{
    unsigned count, i;

    (void)state;
    for (count = 1024; count <= 1025; count++) {
        struct dk_board *board;
        char *source = NULL;
        size_t size;
        FILE *out = open_memstream(&source, &size);

        fputs("/dts-v1/; / { #address-cells = <1>; #size-cells = <1>; " MEMORY "reserved-memory { ranges; ",
              out);
        for (i = 0; i < count; i++)
            fprintf(out, i % 2 ? "d%u { size = <0x1000>; }; " : "s%u { reg = <0x%x 0x1000>; }; ", i,
                    0x40000000 + 0x2000 * i);
        fputs("}; };", out);
        fclose(out);
        board = tree_board(source);
        free(source);
        if (count == 1025) {
            assert_int_equal(PTR_ERR(board), -EINVAL);
            tree_logged("regions", "/reserved-memory/s1024", "more than 1024 reserved regions");
            continue;
        }
        assert_false(IS_ERR(board));
        for (i = 0; i < count; i++)
            assert_null(board->reserved[i].reason);
        dk_board_free(board);
    }
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_boards),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_no_dtc),
        cmocka_unit_test(test_descriptors_from_zero_on),
        cmocka_unit_test(test_children_ignored),
        cmocka_unit_test(test_wild_dtc),
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_structure),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_each_allocation_fails),
        cmocka_unit_test(test_each_long_list_fails),
        cmocka_unit_test(test_crowded_tree),
        cmocka_unit_test(test_region_limit),
    };

    if (count != 2)
        return 2;
    boards_folder = realpath(arguments[1], NULL);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
