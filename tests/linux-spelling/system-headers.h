/* SPDX-License-Identifier: MIT */
/*
 * What system-headers.c found in the uapi's headers.
 */
#ifndef SYSTEM_HEADERS_H
#define SYSTEM_HEADERS_H

struct system_facts {
    unsigned long le32_size;
    int not_supported;
    unsigned long sysinfo_size;
    int module_flag;
    int pci_register;
    unsigned long sync_ioctl;
};

extern const struct system_facts system_facts;

#endif
