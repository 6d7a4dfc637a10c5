#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes one C file of the examples of docs/bugs/: generate.py FOLDER OUTPUT DEPFILE."""

import sys

import pages


def text_of(value):
    return '"%s"' % value if value else 'NULL'


def body(page, lines):
    out, expected = [], None
    for line, number in lines:
        if number != expected:
            out.append('#line %d "docs/bugs/%s.md"' % (number, page.name))
        out.append(line)
        expected = number + 1
    return '\n'.join(out)


def main():
    folder, output, depfile = sys.argv[1:]
    out = ['#include "frame.h"']
    rows = []
    found = pages.read(folder)
    for name, page in found.items():
        function = name.replace('-', '_')
        if page.outside:
            out.append('#line %d "docs/bugs/%s.md"' % (page.outside.first, name))
            out.extend(page.outside.lines)
        for suffix, lines in (('', page.wrong()), ('_mended', page.mended())):
            out.append('EXAMPLE(%s%s)\n{\n%s\n#line 1 "pages-of-bugs.c"\n    *reached = true;\n}' % (function, suffix, body(page, lines)))
        rows.append('    { "%s", %s, %s, %s, %s_mended },' % (
            name, text_of(page.facts.get('bus')), text_of(page.facts.get('arguments')), function, function))
    out.append('const struct page_of_bugs dk_pages_of_bugs[] = {\n%s\n    { NULL, NULL, NULL, NULL, NULL },\n};'
               % '\n'.join(rows))
    with open(output, 'w', encoding='utf-8') as file:
        file.write('\n'.join(out) + '\n')
    # The folder changes when a page comes or goes.
    needs = [folder] + [page.path for page in found.values()]
    with open(depfile, 'w', encoding='utf-8') as file:
        file.write('%s: %s\n' % (output, ' '.join(needs)))


try:
    main()
except pages.Malformed as error:
    sys.exit(str(error))
