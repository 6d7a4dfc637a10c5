#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the corpus: every driver's bug must be reported, and its mended twin must not.

Usage: run.py [--instrumented BUGS MENDED] [--table FILE] [--only NAME]... BUGS MENDED SOURCES BOARDS

BUGS and MENDED are the two programs, SOURCES the folder of the drivers and of a board for them, BOARDS a folder of more
boards. The head of each source says what is expected of it:

  bug-class: A | B, C    a report of class A or B, and one of class C
  depth: N               the least depth at which it is found (1 calls, 2 handover, 3 instrumented loads and stores)
  boards: X Y            it shows on these boards alone; "not X": on all others. Without it: on all
  earlier: N X           on board X it is found at depth N already
  reference: ...         where it really happened

A report counts when it names a line of the source that is marked BUG, or SEEN: another place that the mistake touches;
by its access, by the call that made the mapping, or by the one that ended it. In instrumented programs at least one has
to name a BUG line.

DMAKIT_CORPUS_ALL=1 runs the mended twins on all boards, those of DMAKIT_TEST_BOARDS too, with 20 seeds; else there are
few. DMAKIT_TEST_FAST=1 leaves it at three boards. DMAKIT_JOBS is how many run at once.
"""

import argparse
import collections
import concurrent.futures
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

# The depths that are asserted. 3 needs the instrumented programs.
DEPTHS = (1, 2, 3)

# What is not found yet, and by what it will be; "@3": at that depth alone. Whoever stands here is not asserted, so take out
# what is found: the end of the output says which, and with DMAKIT_CORPUS_ALL=1 it is a failure.
LATER = {}

TIMEOUT = 240
FEW_BOARDS = ('hostile', 'coherent-pc', 'raspberry-pi-4', 'high-memory')
HEAD = re.compile(r'^ \* (bug-class|depth|boards|earlier|reference): *(.*)$', re.MULTILINE)


def marked(lines, mark):
    """The numbers of the lines with @mark, and of the others of the same call."""
    numbers = set()
    for at, line in enumerate(lines):
        if f'/* {mark} */' in line:
            first = last = at
            while lines[first - 1].endswith(','):
                first -= 1
            while lines[last].replace(f'/* {mark} */', '').rstrip().endswith(','):
                last += 1
            numbers |= set(range(first + 1, last + 2))
    return numbers


class Driver:
    """One source: what its head and its marks say."""

    def __init__(self, path):
        self.name = os.path.basename(path)[:-2]
        self.file = os.path.basename(path)
        with open(path, encoding='utf-8') as source:
            text = source.read()
        head = dict(HEAD.findall(text))
        for key in ('bug-class', 'depth', 'reference'):
            if not head.get(key):
                sys.exit(f'{path}: no "{key}:" in its head')
        self.classes = [frozenset(word.strip() for word in part.split('|')) for part in head['bug-class'].split(',')]
        self.depth = int(head['depth'])
        self.boards = head.get('boards', '').split()
        self.earlier = head.get('earlier', '').split()
        lines = text.splitlines()
        self.bug_lines = marked(lines, 'BUG')
        self.seen_lines = self.bug_lines | marked(lines, 'SEEN')
        if not self.bug_lines:
            sys.exit(f'{path}: no line is marked BUG')

    def shows_on(self, board):
        """Whether the bug shows on @board at all."""
        if not self.boards:
            return True
        if self.boards[0] == 'not':
            return board not in self.boards[1:]
        return board in self.boards

    def expected_at(self, depth, board):
        """Whether it is to be found at @depth on @board."""
        if not self.shows_on(board):
            return False
        return depth >= self.depth or bool(self.earlier and depth >= int(self.earlier[0]) and board in self.earlier[1:])

    def lines_of(self, report):
        """The lines of this source that @report names."""
        access = report['access']
        mapping = report.get('mapping')
        frames = list(mapping['stack'][:1]) if mapping else []
        frames += report['undone']['stack'][:1] if 'undone' in report else []
        # What a device does, it does in its model; the driver is further out on the same stack, if at all.
        frames += access['stack'] if access['kind'].startswith('device-') else access['stack'][:1]
        return {frame['line'] for frame in frames if os.path.basename(frame['file'] or '') == self.file}

    def missing(self, reports, exact):
        """Why @reports are not what they should be; '' when they are."""
        named = set()
        for wanted in self.classes:
            of_class = [report for report in reports if report['class'] in wanted]
            if not of_class:
                return 'no report of ' + ' or '.join(sorted(wanted))
            lines = set().union(*(self.lines_of(report) for report in of_class))
            if not lines & self.seen_lines:
                return f'{of_class[0]["class"]} names line {sorted(lines)}, not {sorted(self.seen_lines)}'
            named |= lines
        if exact and not named & self.bug_lines:
            return f'line {sorted(named)} is named, not {sorted(self.bug_lines)}'
        return ''


# Of one driver's bug, or of all mended twins: driver is None then.
Run = collections.namedtuple('Run', 'driver board seed depth program')
Outcome = collections.namedtuple('Outcome', 'reports exit output')


def execute(run):
    """Runs one program. Its reports, how it ended, and what it printed."""
    with tempfile.TemporaryDirectory(prefix='dmakit-corpus-') as folder:
        path = os.path.join(folder, 'reports')
        environment = {key: value for key, value in os.environ.items() if not key.startswith('DMAKIT_')}
        environment['DMAKIT_BOARD'] = run.board
        environment['DMAKIT_OPTIONS'] = f'seed={run.seed}:depth={run.depth}:report_format=json:report_path={path}'
        try:
            done = subprocess.run([run.program, run.driver.name if run.driver else '--all'], env=environment, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT, check=False)
            code, output = done.returncode, done.stdout.decode('utf-8', 'replace')
        except subprocess.TimeoutExpired:
            code, output = None, 'timed out'
        reports = []
        if os.path.exists(path):
            with open(path, encoding='utf-8') as lines:
                reports = [json.loads(line) for line in lines]
    return Outcome(reports, code, output)


def board_name(path):
    return os.path.splitext(os.path.basename(path))[0]


def plan(arguments, drivers):
    """All runs."""
    everything = os.environ.get('DMAKIT_CORPUS_ALL') == '1'
    own = sorted(path for folder in (arguments.boards, arguments.sources)
                 for path in glob.glob(os.path.join(folder, '*.dts')))
    if os.environ.get('DMAKIT_TEST_FAST') == '1' and not everything:
        own = [board for board in own if board_name(board) in FEW_BOARDS]
    real = sorted(glob.glob(os.path.join(os.environ.get('DMAKIT_TEST_BOARDS') or '/nonexistent', '*.dtb')))
    programs = {depth: (arguments.bugs, arguments.mended) for depth in DEPTHS if depth < 3}
    if arguments.instrumented:
        programs[3] = tuple(arguments.instrumented)
    runs = []
    for depth, (bugs, mended) in programs.items():
        deepest = depth == max(programs)
        for driver in drivers:
            runs += [Run(driver, board, 0, depth, bugs) for board in own]
        # The deepest watches what the others do: few of the others' mended runs say something new.
        if everything and deepest:
            twins = [(board, seed) for board in own + real for seed in range(20)]
        elif deepest:
            twins = [(board, seed) for board in own for seed in (0, 1)]
        else:
            twins = [(board, 0) for board in own if board_name(board) in FEW_BOARDS[:2]]
        runs += [Run(None, board, seed, depth, mended) for board, seed in twins]
    return runs, sorted(programs)


def owner(report, drivers):
    """The driver that @report is about; '?' when nothing in it says so."""
    frames = report['access']['stack'] + (report['mapping']['stack'] if report.get('mapping') else [])
    names = {os.path.basename(frame['file'] or '') for frame in frames} | {os.path.basename(report['device']) + '.c'}
    return next((driver.name for driver in drivers if driver.file in names), '?')


def is_later(driver, depth):
    return driver.name in LATER or f'{driver.name}@{depth}' in LATER


def judge(runs, outcomes, drivers):
    """What is wrong, what is found that is not expected yet, and found[driver][depth], alarms[driver] and how many
    runs of the mended twins there were."""
    wrong = []
    early = []
    found = {driver.name: {} for driver in drivers}
    alarms = {driver.name: 0 for driver in drivers}
    mended = 0
    for run, outcome in zip(runs, outcomes):
        where = f'{run.driver.name if run.driver else "mended"} ({board_name(run.board)}, seed {run.seed}, depth {run.depth})'
        if not run.driver:
            mended += 1
            for report in outcome.reports:
                name = owner(report, drivers)
                alarms[name] = alarms.get(name, 0) + 1
                wrong.append(f'{where}: {name}: {report["class"]}: {report["what"]}')
            if outcome.exit != 0:
                wrong.append(f'{where}: ended with {outcome.exit}: {outcome.output[-300:]}')
        elif outcome.exit not in (0, 1):
            wrong.append(f'{where}: ended with {outcome.exit}: {outcome.output[-300:]}')
        elif run.driver.expected_at(run.depth, board_name(run.board)):
            why = run.driver.missing(outcome.reports, run.depth == 3)
            found[run.driver.name].setdefault(run.depth, []).append((board_name(run.board), why))
    for driver in drivers:
        for depth, results in found[driver.name].items():
            missed = [f'{board}: {why}' for board, why in results if why]
            if missed and not is_later(driver, depth):
                wrong.append(f'{driver.name} at depth {depth}: ' + '; '.join(missed[:3]))
        depths = [depth for depth in found[driver.name] if depth >= driver.depth and is_later(driver, depth)]
        if depths and not any(why for depth in depths for _, why in found[driver.name][depth]):
            early.append(f'{driver.name} is found at depth {min(depths)}: take it out of LATER')
    return wrong, early, found, alarms, mended


def cell(driver, depth, found):
    if depth not in found[driver.name]:
        return '·'
    results = found[driver.name][depth]
    hits = sum(not why for _, why in results)
    return 'yes' if hits == len(results) else 'no' if not hits else f'{hits}/{len(results)}'


def table(drivers, depths, found, alarms, mended):
    """The table for people: one row a driver."""
    rows = [('driver', 'class', *(f'depth {depth}' for depth in depths), 'mended', 'expected later')]
    for driver in drivers:
        rows.append((driver.name, ', '.join(' or '.join(sorted(wanted)) for wanted in driver.classes),
                     *(cell(driver, depth, found) for depth in depths),
                     f'{alarms[driver.name]} of {mended}',
                     '; '.join(f'{name[len(driver.name):]} {what}'.strip() for name, what in LATER.items()
                               if name.split('@')[0] == driver.name)))
    totals = [f'{sum(cell(driver, depth, found) == "yes" for driver in drivers)} of {len(drivers)}' for depth in depths]
    rows.append(('in all', '', *totals, f'{sum(alarms.values())} of {mended * len(drivers)}', ''))
    return rows


def print_rows(rows, out):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print('  '.join(text.ljust(width) for text, width in zip(row, widths)).rstrip(), file=out)


def write_markdown(rows, path):
    with open(path, 'w', encoding='utf-8') as out:
        for number, row in enumerate(rows):
            print('| ' + ' | '.join(row[:-1]) + ' |', file=out)
            if not number:
                print('|' + '---|' * (len(row) - 1), file=out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--instrumented', nargs=2, metavar=('BUGS', 'MENDED'))
    parser.add_argument('--table', metavar='FILE')
    parser.add_argument('--only', action='append', metavar='NAME')
    parser.add_argument('bugs')
    parser.add_argument('mended')
    parser.add_argument('sources')
    parser.add_argument('boards')
    arguments = parser.parse_args()

    names = subprocess.run([arguments.bugs, '--list'], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    drivers = [Driver(os.path.join(arguments.sources, name + '.c')) for name in names
               if not arguments.only or name in arguments.only]
    if not drivers:
        sys.exit('no such driver')
    unknown = {name.split('@')[0] for name in LATER} - set(names)
    if unknown:
        sys.exit(f'LATER names no driver: {sorted(unknown)}')
    runs, depths = plan(arguments, drivers)
    workers = int(os.environ.get('DMAKIT_JOBS') or os.cpu_count() or 1)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        outcomes = list(pool.map(execute, runs))
    wrong, early, found, alarms, mended = judge(runs, outcomes, drivers)
    if os.environ.get('DMAKIT_CORPUS_ALL') == '1':
        wrong += early
    rows = table(drivers, depths, found, alarms, mended)
    print_rows(rows, sys.stdout)
    if arguments.table:
        write_markdown(rows, arguments.table)
    print(f'{len(runs)} runs, {len(wrong)} wrong')
    for line in wrong + [line for line in early if line not in wrong]:
        print(line)
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
