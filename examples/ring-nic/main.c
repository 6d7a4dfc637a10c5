/* SPDX-License-Identifier: MIT */
/*
 * ring-nic [VERSION | --list]: sends frames through a version of the driver, on the board that DMAKIT_BOARD
 * names, and compares what comes back. Exits 0 when all of it is right, 1 when bytes were wrong or a bug was
 * reported, 2 when it could not run.
 */
#include "model.h"
#include "nic.h"
#include "regs.h"

#include <dmakit/dmakit.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>

#define FRAMES 100u
#define PATIENCE msecs_to_jiffies(2000)

/* A version's name, and what is wrong with it. */
static const struct {
    const char *name;
    const char *why;
} versions[] = {
    [NIC_RIGHT] = { "right", "" },
    [NIC_NO_SYNC_FOR_CPU] = { "no-sync-for-cpu", "reads a received frame that was not synced for the CPU" },
    [NIC_NO_SYNC_FOR_DEVICE] = { "no-sync-for-device",
                                 "stores to a mapped frame and does not sync it for the device" },
    [NIC_PHYSICAL_ADDRESS] = { "physical-address", "gives the card a physical address, not a DMA address" },
    [NIC_SHARED_LINE] = { "shared-line", "keeps a note in a cache line that the card writes to" },
};
#define VERSIONS (sizeof(versions) / sizeof(versions[0]))

struct bench {
    struct nic_port port;
    struct completion all_back;
    unsigned received;
    unsigned wrong;
    char first_wrong[128];
};

/* Frames of all lengths, none like another. */
static size_t length_of(unsigned number)
{
    return sizeof(struct nic_header) + number * 397 % (NIC_FRAME_MAX - sizeof(struct nic_header) + 1);
}

static u8 byte_of(unsigned number, size_t at)
{
    if (at < sizeof(struct nic_header))
        return (u8)(number >> 8 * at); /* little-endian: the driver writes it */
    return (u8)(number * 131 + at * 7 + 1);
}

static void receive(struct nic_port *port, const u8 *frame, size_t length, bool intact)
{
    struct bench *bench = container_of(port, struct bench, port);
    unsigned number = ++bench->received;
    size_t at = 0;

    while (at < length && frame[at] == byte_of(number, at))
        at++;
    if ((length != length_of(number) || at < length || !intact) && !bench->wrong++)
        snprintf(bench->first_wrong, sizeof(bench->first_wrong),
                 "frame %u: %zu of %zu bytes right, then %02x instead of %02x; %s", number, at,
                 length_of(number), at < length ? frame[at] : 0, byte_of(number, at),
                 intact ? "the card sent it so" : "not what the card wrote");
    if (number == FRAMES)
        complete(&bench->all_back);
}

static int send_frame(struct device *dev, unsigned number)
{
    unsigned long deadline = jiffies + PATIENCE;
    size_t length = length_of(number), at;
    u8 *frame = nic_frame_alloc(dev, length, GFP_KERNEL);
    int ret;

    if (!frame)
        return -ENOMEM;
    memset(frame, 0, sizeof(struct nic_header));
    for (at = sizeof(struct nic_header); at < length; at++)
        frame[at] = byte_of(number, at);
    while ((ret = nic_transmit(dev, frame, length)) == -EBUSY && time_before(jiffies, deadline))
        usleep_range(20, 100);
    if (ret)
        kfree(frame);
    return ret;
}

/* The driver is bound: sends all, and waits for all to come back. 0, or what kept a frame from being sent. */
static int exchange(struct bench *bench, struct device *dev)
{
    unsigned number;
    int ret;

    for (number = 1; number <= FRAMES; number++) {
        ret = send_frame(dev, number);
        if (ret)
            return ret;
    }
    return wait_for_completion_timeout(&bench->all_back, PATIENCE) ? 0 : -ETIMEDOUT;
}

/* Runs the version on @dev and prints one line. 0, 1 or 2, as the program exits. */
static int run(enum nic_mistake version, struct device *dev)
{
    struct bench bench = { .port = { .mistake = version, .receive = receive } };
    int ret;

    init_completion(&bench.all_back);
    dev->platform_data = &bench.port;
    ret = dk_driver_bind(dk_module_driver_nic_driver, dev);
    if (ret) {
        fprintf(stderr, "ring-nic: the driver does not take %s: %s\n", dk_device_path(dev), strerror(-ret));
        return 2;
    }
    ret = exchange(&bench, dev);
    dk_driver_unbind(dev);

    printf("ring-nic %s on %s: ", versions[version].name, dk_device_path(dev));
    if (bench.wrong)
        printf("%u of %u frames wrong (%s)", bench.wrong, bench.received, bench.first_wrong);
    else if (ret)
        printf("stopped after %u of %u frames: %s", bench.received, FRAMES, strerror(-ret));
    else
        printf("%u frames sent, received and right", bench.received);
    if ((bench.wrong || ret) && bench.port.mistake_line)
        printf("; driver.c:%d %s", bench.port.mistake_line, versions[version].why);
    putchar('\n');
    return bench.wrong || ret ? 1 : 0;
}

static int run_on_machine(enum nic_mistake version)
{
    struct dk_machine *machine = dk_machine_create(NULL, NULL);
    struct nic_model *model = NULL;
    struct device *dev;
    int status = 2;

    if (IS_ERR(machine)) {
        fprintf(stderr, "ring-nic: no machine: %s\n", strerror((int)-PTR_ERR(machine)));
        return 2;
    }
    dk_machine_enter(machine);
    dev = dk_device_find(machine, "nic");
    if (!dev)
        dev = dk_device_add(NULL, "nic");
    if (!IS_ERR(dev))
        model = nic_model_create(dev);
    if (!IS_ERR_OR_NULL(model))
        status = run(version, dev);
    else
        fprintf(stderr, "ring-nic: no device to be the card\n");

    if (dk_machine_destroy(machine) && status == 0)
        status = 1;
    if (!IS_ERR(model))
        nic_model_destroy(model);
    return status;
}

int main(int argc, char **argv)
{
    const char *wanted = argc > 1 ? argv[1] : versions[NIC_RIGHT].name;
    bool list = strcmp(wanted, "--list") == 0;
    unsigned i;

    for (i = 0; i < VERSIONS; i++) {
        if (list)
            puts(versions[i].name);
        else if (strcmp(wanted, versions[i].name) == 0)
            return run_on_machine((enum nic_mistake)i);
    }
    if (list)
        return 0;
    fprintf(stderr, "ring-nic: no version \"%s\"; ring-nic --list names them\n", wanted);
    return 2;
}
