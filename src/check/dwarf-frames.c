/* SPDX-License-Identifier: MIT */
#include "check/dwarf-frames.h"

#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

/* How many jumps in a row are followed, and how many entries of a function's tree are looked at. */
#define JUMPS 4
#define TREE_DEPTH 32

/* The unit that holds @pc. *bias is what to take off an address of the process. Units whose compiler wrote no
 * index of addresses are searched one by one; where others in the file have one, the index may name one of
 * those. */
static Dwarf_Die *unit_of(Dwfl *dwfl, uintptr_t pc, Dwarf_Addr *bias)
{
    Dwfl_Module *module = dwfl_addrmodule(dwfl, pc);
    Dwarf_Die *unit = module ? dwfl_module_addrdie(module, pc, bias) : NULL;

    if (!module || (unit && dwarf_haspc(unit, pc - *bias) == 1))
        return unit;
    unit = NULL;
    while ((unit = dwfl_module_nextcu(module, unit, bias))) {
        if (dwarf_haspc(unit, pc - *bias) == 1)
            return unit;
    }
    return NULL;
}

/* A function's name, through its declaration or the body it was inlined from. */
static const char *name_of(Dwarf_Die *die)
{
    Dwarf_Attribute attribute;

    return dwarf_formstring(dwarf_attr_integrate(die, DW_AT_name, &attribute));
}

static int number_of(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    Dwarf_Word value;

    return dwarf_formudata(dwarf_attr(die, name, &attribute), &value) ? 0 : (int)value;
}

static bool is_function(Dwarf_Die *die)
{
    return dwarf_tag(die) == DW_TAG_subprogram || dwarf_tag(die) == DW_TAG_inlined_subroutine;
}

/* Where the body inlined as @die was called from. */
static void call_place(Dwarf_Die *unit, Dwarf_Die *die, const char **file, int *line)
{
    Dwarf_Files *files;
    size_t count;

    *line = number_of(die, DW_AT_call_line);
    *file = NULL;
    /* Files count from 0 since DWARF 5: there is one when the attribute is. */
    if (dwarf_hasattr(die, DW_AT_call_file) && !dwarf_getsrcfiles(unit, &files, &count))
        *file = dwarf_filesrc(files, (size_t)number_of(die, DW_AT_call_file), NULL, NULL);
}

/* @scopes from the innermost outwards around one address, whose own file and line are given. */
static unsigned places_in(Dwarf_Die *unit, Dwarf_Die *scopes, int count, const char *file, int line,
                          struct dk_place *places)
{
    unsigned used = 0;
    int i;

    for (i = 0; i < count && used < DK_PLACE_DEPTH; i++) {
        if (!is_function(&scopes[i]))
            continue;
        places[used++] = (struct dk_place){ name_of(&scopes[i]), file, line };
        if (dwarf_tag(&scopes[i]) == DW_TAG_subprogram)
            break;
        call_place(unit, &scopes[i], &file, &line);
    }
    return used;
}

unsigned dk_dwarf_places(Dwfl *dwfl, uintptr_t pc, struct dk_place places[DK_PLACE_DEPTH])
{
    Dwarf_Addr bias = 0;
    Dwarf_Die *unit = unit_of(dwfl, pc, &bias);
    Dwarf_Die *scopes = NULL, *nested = NULL;
    Dwarf_Line *source;
    const char *file = NULL;
    unsigned used = 0;
    int line = 0, count;

    if (!unit)
        return 0;
    source = dwarf_getsrc_die(unit, pc - bias);
    if (source) {
        file = dwarf_linesrc(source, NULL, NULL);
        dwarf_lineno(source, &line);
    }
    count = dwarf_getscopes(unit, pc - bias, &scopes);
    if (count > 0) {
        /* What dwarf_getscopes() gives follows an inlined body to where it was written; where it runs is
         * asked for. */
        int inner = dwarf_getscopes_die(&scopes[0], &nested);

        if (inner > 0)
            used = places_in(unit, nested, inner, file, line, places);
    }
    free(nested);
    free(scopes);
    return used;
}

/* ---- Jumps ---- */

static bool is_call_site(Dwarf_Die *die)
{
    return dwarf_tag(die) == DW_TAG_call_site || dwarf_tag(die) == DW_TAG_GNU_call_site;
}

/* The function that the call @site enters, when it is a direct call. */
static bool callee_of(Dwarf_Die *site, Dwarf_Die *callee)
{
    Dwarf_Attribute attribute;

    return dwarf_formref_die(dwarf_attr(site, DW_AT_call_origin, &attribute), callee) ||
           dwarf_formref_die(dwarf_attr(site, DW_AT_abstract_origin, &attribute), callee);
}

/* The address after the call @site, relative to the object file; 0 when unknown. */
static Dwarf_Addr return_of(Dwarf_Die *site)
{
    Dwarf_Attribute attribute;
    Dwarf_Addr address = 0;

    if (dwarf_formaddr(dwarf_attr(site, DW_AT_call_return_pc, &attribute), &address) &&
        dwarf_formaddr(dwarf_attr(site, DW_AT_low_pc, &attribute), &address))
        return 0;
    return address;
}

/* An address within the jump @site. */
static Dwarf_Addr jump_of(Dwarf_Die *site)
{
    Dwarf_Attribute attribute;
    Dwarf_Addr address;

    if (!dwarf_formaddr(dwarf_attr(site, DW_AT_call_pc, &attribute), &address))
        return address;
    address = return_of(site);
    return address ? address - 1 : 0;
}

static bool is_jump(Dwarf_Die *site)
{
    return dwarf_hasattr(site, DW_AT_call_tail_call) || dwarf_hasattr(site, DW_AT_GNU_tail_call);
}

/* Calls @visit for each call site below @die until it returns true; whether it did. */
static bool find_site(Dwarf_Die *die, bool (*visit)(Dwarf_Die *site, void *data), void *data, unsigned depth)
{
    Dwarf_Die child;

    if (!depth || dwarf_child(die, &child))
        return false;
    do {
        if (is_call_site(&child)) {
            if (visit(&child, data))
                return true;
        } else if (find_site(&child, visit, data, depth - 1)) {
            return true;
        }
    } while (!dwarf_siblingof(&child, &child));
    return false;
}

/* The function with code, not the place where one was inlined, that holds @pc. */
static bool function_at(Dwarf_Die *unit, Dwarf_Addr pc, Dwarf_Die *function)
{
    Dwarf_Die child;

    if (dwarf_child(unit, &child))
        return false;
    do {
        if (dwarf_tag(&child) == DW_TAG_subprogram && dwarf_haspc(&child, pc) == 1) {
            *function = child;
            return true;
        }
    } while (!dwarf_siblingof(&child, &child));
    return false;
}

static bool function_named(Dwarf_Die *unit, const char *name, Dwarf_Die *function)
{
    Dwarf_Addr low;
    Dwarf_Die child;

    if (dwarf_child(unit, &child))
        return false;
    do {
        if (dwarf_tag(&child) == DW_TAG_subprogram &&
            (!dwarf_lowpc(&child, &low) || dwarf_hasattr(&child, DW_AT_ranges))) {
            const char *its = name_of(&child);

            if (its && !strcmp(its, name)) {
                *function = child;
                return true;
            }
        }
    } while (!dwarf_siblingof(&child, &child));
    return false;
}

struct return_search {
    Dwarf_Addr address;
    Dwarf_Die callee;
};

static bool returns_to(Dwarf_Die *site, void *data)
{
    struct return_search *search = data;

    return return_of(site) == search->address && callee_of(site, &search->callee);
}

struct jump_search {
    Dwarf_Die *unit;
    const char *target;
    unsigned depth;
    Dwarf_Addr jumps[JUMPS]; /* outermost first */
    unsigned count;
};

static bool jumps_reach(const char *from, struct jump_search *search);

static bool jump_leads(Dwarf_Die *site, void *data)
{
    struct jump_search *search = data;
    Dwarf_Die callee;
    const char *name;

    if (!is_jump(site) || !callee_of(site, &callee) || search->count == JUMPS)
        return false;
    name = name_of(&callee);
    if (!name)
        return false;
    search->jumps[search->count++] = jump_of(site);
    if (!strcmp(name, search->target) || jumps_reach(name, search))
        return true;
    search->count--;
    return false;
}

/* Whether function @from ends in jumps that come to the target; they are then in search->jumps. */
static bool jumps_reach(const char *from, struct jump_search *search)
{
    Dwarf_Die function;

    return function_named(search->unit, from, &function) &&
           find_site(&function, jump_leads, search, TREE_DEPTH);
}

/* The name of the function with code at @pc. */
static const char *function_name(Dwfl *dwfl, uintptr_t pc)
{
    Dwarf_Addr bias = 0;
    Dwarf_Die *unit = unit_of(dwfl, pc, &bias);
    Dwarf_Die function;

    return unit && function_at(unit, pc - bias, &function) ? name_of(&function) : NULL;
}

unsigned dk_dwarf_jumps(Dwfl *dwfl, uintptr_t return_address, uintptr_t callee_pc,
                        struct dk_place places[DK_PLACE_DEPTH])
{
    Dwarf_Addr bias = 0;
    Dwarf_Die *unit = unit_of(dwfl, return_address - 1, &bias);
    struct jump_search search = { .unit = unit };
    struct return_search call;
    Dwarf_Die caller;
    const char *entered;
    unsigned used = 0, i;

    search.target = function_name(dwfl, callee_pc);
    if (!unit || !search.target || !function_at(unit, return_address - 1 - bias, &caller))
        return 0;
    call.address = return_address - bias;
    if (!find_site(&caller, returns_to, &call, TREE_DEPTH))
        return 0;
    entered = name_of(&call.callee);
    if (!entered || !strcmp(entered, search.target) || !jumps_reach(entered, &search))
        return 0;
    for (i = search.count; i-- > 0;) {
        struct dk_place at[DK_PLACE_DEPTH];
        unsigned count = dk_dwarf_places(dwfl, (uintptr_t)(search.jumps[i] + bias), at), j;

        for (j = 0; j < count && used < DK_PLACE_DEPTH; j++)
            places[used++] = at[j];
    }
    return used;
}
