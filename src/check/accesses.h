/* SPDX-License-Identifier: MIT */
/*
 * What the reports on bus masters' accesses share: from an address to the mapping that it has to do with.
 */
#ifndef DK_CHECK_ACCESSES_H
#define DK_CHECK_ACCESSES_H

#include "check/checker.h"

/* What an address has to do with. A copy: no lock is held. */
struct dk_lead {
    struct dk_mapping mapping;
    u32 stack;
    u32 undone;        /* of the call that unmapped or freed it; 0: none, or not known */
    const char *owner; /* the path of the device that it was mapped for; NULL: the one that accesses */
    bool found;
};

typedef bool dk_lead_search(struct dk_mappings *mappings, u64 address, struct dk_lead *lead);

/* The live mapping that holds the address; the latest that held it and is gone; a live one whose physical
 * address it is, which the device knows by another. */
dk_lead_search dk_lead_live, dk_lead_past, dk_lead_physical;

/* Whether the other device of the table @other sees at @address what @dev sees there. */
bool dk_lead_shares(const struct device *dev, struct dk_mappings *other, u64 address);
/* Searches the mappings of @dev, then those of the devices that see the same at @address: a controller
 * reaches what is mapped for the interfaces below it. */
bool dk_lead_find(struct dk_checker *checker, struct device *dev, dk_lead_search *search, u64 address,
                  struct dk_lead *lead);

/* Begins a report on an access of @dev's. */
void dk_access_begin(struct dk_report_draft *draft, struct dk_checker *checker, enum dk_class class_index,
                     const struct device *dev, bool write);
/* Makes it: @length bytes at @dma, which are at @offset of the lead's mapping. @lead lives until then. */
void dk_access_conclude(struct dk_report_draft *draft, struct dk_checker *checker, dma_addr_t dma, u64 length,
                        const struct dk_lead *lead, u64 offset);

static inline const char *dk_access_did(bool write)
{
    return write ? "wrote" : "read";
}

/* Whose mapping it is, where it is another device's. */
static inline const char *dk_lead_owned(const struct dk_lead *lead)
{
    return lead->owner ? ", mapped for " : "";
}

static inline const char *dk_lead_owner(const struct dk_lead *lead)
{
    return lead->owner ? lead->owner : "";
}

/* ---- strays.c ---- */

/*
 * @address was accessed, where nothing of @dev's is. Whether it is what became of a live mapping's address on
 * its way to the device: cut, sign-extended, or the CPU's. Then address-truncated is reported. With @exact
 * only if it is where the mapping begins.
 */
bool dk_stray_truncated(struct dk_checker *checker, struct device *dev, dma_addr_t address, u64 length,
                        bool write, bool exact);
/* The bus refused @fault. Reports it where mappings say what it is; false: they do not. */
bool dk_stray_refused(struct dk_checker *checker, struct device *dev, const struct dk_master_fault *fault);
/* Whether @fault is at the address of an entry past those that dma_map_sg() returned: reports
 * sg-nents-confused then. */
bool dk_stray_past_segments(struct dk_checker *checker, struct device *dev,
                            const struct dk_master_fault *fault);

#endif
