/* SPDX-License-Identifier: MIT */
/* <linux/mm.h> for driver source. */
#ifndef DMAKIT_LINUX_MM_H
#define DMAKIT_LINUX_MM_H

#include <dmakit/memory-info.h>
#include <dmakit/migrate.h>
#include <dmakit/page.h>
#include <dmakit/vma.h>
#include <dmakit/vmalloc.h>
#include <linux/align.h>

#ifndef PAGE_ALIGN
#define PAGE_ALIGN(address) ALIGN(address, PAGE_SIZE)
#endif
#define PAGE_ALIGNED(address) IS_ALIGNED((unsigned long)(address), PAGE_SIZE)

#endif
