#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""docs/bugs/: every class has its page; each example makes the report that its page shows, and mended it makes none.

Usage: test-bugs.py TOP DMAKIT PROGRAM INSTRUMENTED     (run.c, plain and for depth 3; the same where there is none)
"""

import glob
import os
import re
import sys

import pages
import runs

FAST = bool(os.environ.get('DMAKIT_TEST_FAST'))


def classes_and_pages(runner, found, failures):
    classes = set(runner.classes())
    for name in sorted(classes - set(found)):
        failures.append('%s: a class without a page' % name)
    for name in sorted(set(found) - classes):
        failures.append('%s: a page without a class' % name)


def where_it_happened(found, failures):
    for page in found.values():
        name, text = list(page.sections.items())[-1]
        if not re.search(r'https://|\[[^\]]*\]\(|\b[0-9a-f]{12}\b', text):
            failures.append('%s: "%s" names no source' % (page.path, name))


def examples(runner, found, failures):
    def wrong(page):
        _, reports = runner.example(page, 'wrong', 3)
        actual, promised = pages.plain(reports), pages.plain('\n'.join(page.report.lines))
        if actual != promised:
            failures.append('%s promises:\n%s\nprinted:\n%s' % (page.path, '\n'.join(promised), '\n'.join(actual)))
        made = runner.classes_of(page, 'wrong', 3)
        if made != page.classes():
            failures.append('%s: reports %s, not %s' % (page.path, made, page.classes()))

    def mended(page):
        printed, reports = runner.example(page, 'mended', 3)
        if reports or printed != 'end\n':
            failures.append('%s, mended: %s%s' % (page.path, printed, reports))

    runs.in_parallel(wrong, found.values())
    runs.in_parallel(mended, found.values())


def false_alarms(runner, found, failures):
    """The mended examples on every board, and with seeds. What depth 1 does the others do too."""
    boards = [os.path.relpath(path, runner.top) for path in sorted(glob.glob(os.path.join(runner.top, 'boards', '*.dts')))]
    cases = [(board, depth, seed) for board in [None] + boards for depth in ([2] if FAST else [2, 3])
             for seed in ([1] if FAST else [0, 1])]

    def play(case):
        rows = runner.mended(*case)
        if [row[0] for row in rows] != list(found):
            failures.append('mended examples on %s, depth %d, seed %d: not all ran' % case)
        for name, count, first in rows:
            if count != '0':
                failures.append('%s, mended, on %s, depth %d, seed %d: %s' % ((name,) + case + (first,)))

    runs.in_parallel(play, cases)
    print('%d mended examples, %d boards, %d runs of each' % (len(found), len(boards) + 1, len(cases)))


def links(top, failures):
    for path in glob.glob(os.path.join(top, 'docs', '**', '*.md'), recursive=True) + [os.path.join(top, 'README.md')]:
        with open(path, encoding='utf-8') as file:
            text = re.sub(r'^```.*?^```$', '', file.read(), flags=re.S | re.M)
        for target in re.findall(r'\]\(([^)\s]+)\)', text):
            place, _, anchor = target.partition('#')
            if re.match(r'[a-z]+:', target):
                if not target.startswith('https://'):
                    failures.append('%s: %s' % (path, target))
                continue
            whole = os.path.join(os.path.dirname(path), place) if place else path
            if not os.path.exists(whole):
                failures.append('%s: no %s' % (path, target))
            elif anchor:
                with open(whole, encoding='utf-8') as file:
                    headings = re.findall(r'^#+ (.*)$', file.read(), flags=re.M)
                if anchor not in [re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings]:
                    failures.append('%s: no heading %s' % (path, target))


def readme(runner, found, failures):
    with open(os.path.join(runner.top, 'docs/bugs/README.md'), encoding='utf-8') as file:
        _, inside, _ = runs.split_readme(file.read())
    if inside != runs.table(runner, found):
        failures.append('docs/bugs/README.md: its table is stale; scripts/bugs --write')


def main():
    top, dmakit, plain, instrumented = sys.argv[1:]
    runner = runs.Runner(top, dmakit, {1: plain, 2: plain, 3: instrumented})
    found = pages.read(os.path.join(top, 'docs/bugs'))
    failures = []
    classes_and_pages(runner, found, failures)
    where_it_happened(found, failures)
    links(top, failures)
    try:
        examples(runner, found, failures)
        false_alarms(runner, found, failures)
        readme(runner, found, failures)
    except runs.Failed as error:
        failures.append(str(error))
    print('\n'.join(failures))
    return 1 if failures else 0


try:
    sys.exit(main())
except pages.Malformed as error:
    sys.exit(str(error))
