/* SPDX-License-Identifier: MIT */
/*
 * The system's headers, with include/ before them: they find the uapi's <linux/...> through ours, and still
 * work.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/errno.h>
#include <linux/if.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/sync_file.h>
#include <linux/types.h>
#include <linux/udmabuf.h>
#include <linux/videodev2.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/user.h>
#include <unistd.h>

#include "system-headers.h"

/* Something of each uapi header that ours stands before. */
const struct system_facts system_facts = {
    .le32_size = sizeof(__le32),                /* linux/types.h */
    .not_supported = EOPNOTSUPP,                /* linux/errno.h */
    .sysinfo_size = sizeof(struct sysinfo),     /* linux/kernel.h */
    .module_flag = MODULE_INIT_IGNORE_VERMAGIC, /* linux/module.h */
    .pci_register = PCI_VENDOR_ID,              /* linux/pci.h */
    .sync_ioctl = DMA_BUF_IOCTL_SYNC,           /* linux/dma-buf.h, through linux/types.h */
};
