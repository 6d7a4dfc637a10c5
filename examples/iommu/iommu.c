/* SPDX-License-Identifier: MIT */
/*
 * What a driver behind an IOMMU can do beyond dma_map_single(): memory in pieces, addresses before memory,
 * and an address space that two devices share. Runs on the built-in board; each part plays its device with
 * dk_master_*.
 */
#include <dmakit/dmakit.h>
#include <stdio.h>
#include <string.h>

/* A frame of a camera: many pages, none of them neighbours if need be, one DMA address, one kernel address.
 */
static int receive_frame(struct device *camera)
{
    size_t size = 1 << 20;
    struct sg_table *table = dma_alloc_noncontiguous(camera, size, DMA_FROM_DEVICE, GFP_KERNEL, 0);
    int error = -ENOMEM;
    char *frame;

    if (!table)
        return -ENOMEM;
    frame = dma_vmap_noncontiguous(camera, size, table);
    if (!frame)
        goto free;
    error = dk_master_write(camera, sg_dma_address(table->sgl) + size - 6, "frame", 6);
    dma_sync_sgtable_for_cpu(camera, table, DMA_FROM_DEVICE);
    printf("the end of the frame: \"%s\"\n", frame + size - 6);
    dma_vunmap_noncontiguous(camera, frame);
free:
    dma_free_noncontiguous(camera, size, table, DMA_FROM_DEVICE);
    return error;
}

/* A disk request: one range of addresses for all of it, memory linked into it page by page. */
static int send_request(struct device *disk)
{
    struct page *first = alloc_page(GFP_KERNEL), *second = alloc_page(GFP_KERNEL);
    struct dma_iova_state range;
    char seen[2] = "";
    int error = -ENOMEM;

    if (!first || !second || !dma_iova_try_alloc(disk, &range, 0, 2 * PAGE_SIZE))
        goto free; /* a driver would map the pages one by one */
    memset(page_address(first), 'a', PAGE_SIZE);
    memset(page_address(second), 'b', PAGE_SIZE);
    error = dma_iova_link(disk, &range, page_to_phys(first), 0, PAGE_SIZE, DMA_TO_DEVICE, 0);
    if (!error)
        error = dma_iova_link(disk, &range, page_to_phys(second), PAGE_SIZE, PAGE_SIZE, DMA_TO_DEVICE, 0);
    if (!error)
        error = dma_iova_sync(disk, &range, 0, 2 * PAGE_SIZE);
    if (!error)
        error = dk_master_read(disk, range.addr + PAGE_SIZE - 1, seen, sizeof(seen));
    printf("across the pages: \"%c%c\"\n", seen[0], seen[1]);
    dma_iova_destroy(disk, &range, 2 * PAGE_SIZE, DMA_TO_DEVICE, 0);
free:
    __free_page(first);
    __free_page(second);
    return error;
}

/* A decoder in two devices that use one address for a buffer. */
static int share_space(struct device *front, struct device *back)
{
    struct dma_iommu_mapping *space = arm_iommu_create_mapping(front, 0x10000000, 1 << 24);
    char *buffer = kzalloc(64, GFP_KERNEL), seen[8] = "";
    int error = -ENOMEM;
    dma_addr_t dma;

    if (IS_ERR(space) || !buffer)
        goto free;
    error = arm_iommu_attach_device(front, space);
    if (error)
        goto free;
    error = arm_iommu_attach_device(back, space);
    if (error)
        goto detach_front;
    dma = dma_map_single(front, buffer, 64, DMA_BIDIRECTIONAL);
    error = dma_mapping_error(front, dma);
    if (error)
        goto detach_back;
    error = dk_master_write(front, dma, "decoded", 8);
    if (!error)
        error = dk_master_read(back, dma, seen, 8);
    printf("at 0x%llx both see: \"%s\"\n", dma, seen);
    dma_unmap_single(front, dma, 64, DMA_BIDIRECTIONAL);
detach_back:
    arm_iommu_detach_device(back);
detach_front:
    arm_iommu_detach_device(front);
free:
    kfree(buffer);
    if (!IS_ERR(space))
        arm_iommu_release_mapping(space);
    return error;
}

int main(void)
{
    struct dk_machine *machine = dk_machine_create(NULL, NULL);
    struct device *camera = dk_device_add(NULL, "camera"), *disk = dk_device_add(NULL, "disk");
    int error;

    if (IS_ERR(machine) || IS_ERR(camera) || IS_ERR(disk))
        return 2;
    error = receive_frame(camera);
    if (!error)
        error = send_request(disk);
    if (!error)
        error = share_space(camera, disk);
    if (error)
        printf("failed: %s\n", strerror(-error));
    return dk_machine_destroy(machine) || error;
}
