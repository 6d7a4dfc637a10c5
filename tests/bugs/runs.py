# SPDX-License-Identifier: MIT
"""Runs the examples of docs/bugs/ and makes the table of its README."""

import concurrent.futures
import functools
import os
import re
import subprocess

import pages

DEPTHS = [1, 2, 3]
BEGIN, END = '<!-- scripts/bugs --write makes what follows -->\n', '<!-- up to here -->\n'


class Failed(Exception):
    """An example that could not be run to its end."""


class Runner:
    """@top: the project's folder. @dmakit: the command. @programs: the program of tests/bugs/run.c for each depth."""

    def __init__(self, top, dmakit, programs):
        self.top, self.dmakit, self.programs = top, dmakit, programs
        self.clean = {key: value for key, value in os.environ.items() if not key.startswith('DMAKIT_')}

    def environment(self, board, options):
        made = dict(self.clean)
        if board:
            made['DMAKIT_BOARD'] = os.path.join(self.top, board)
        if options:
            made['DMAKIT_OPTIONS'] = options
        return made

    def run(self, depth, board, options, *arguments):
        done = subprocess.run([self.programs[depth], *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, env=self.environment(board, options), timeout=120, check=False)
        if done.returncode:
            raise Failed('%s: exit code %d\n%s' % (' '.join(arguments), done.returncode, done.stderr))
        return done

    @functools.lru_cache(maxsize=None)
    def example(self, page, which, depth):
        """What an example printed, and its reports as text."""
        done = self.run(depth, page.facts.get('board'), 'log=0', page.name, which, str(depth))
        return done.stdout, done.stderr[done.stderr.find('==dmakit=='):] if '==dmakit==' in done.stderr else ''

    def classes_of(self, page, which, depth):
        """The classes of an example's reports."""
        return re.findall(r'^==dmakit== \w+: (\S+)', self.example(page, which, depth)[1], flags=re.M)

    def mended(self, board, depth, seed):
        """All mended examples on @board: for each its reports and the class of the first."""
        done = self.run(depth, board, 'log=0', '--mended', str(depth), str(seed))
        return [line.split(' ', 2) for line in done.stdout.splitlines()]

    def classes(self):
        """Each class's summary."""
        done = subprocess.run([self.dmakit, 'check', '--list-classes'], stdout=subprocess.PIPE, text=True,
                              env=self.clean, timeout=60, check=True)
        return dict(re.split(r' {2,}', line, maxsplit=1) for line in done.stdout.splitlines() if line)


def in_parallel(work, items):
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(work, items))


def table(runner, found):
    """The index of README.md: the classes of each theme, with the depths at which the page's mistake is found."""
    summaries = runner.classes()

    def row(page):
        marks = ['yes' if page.name in runner.classes_of(page, 'wrong', depth) else '–' for depth in DEPTHS]
        return '| [%s](%s.md) | %s | %s |' % (page.name, page.name, summaries.get(page.name, ''), ' | '.join(marks))

    out = []
    rows = dict(zip(found, in_parallel(row, found.values())))
    for theme in pages.THEMES:
        of_theme = [rows[name] for name, page in found.items() if page.facts['theme'] == theme]
        if of_theme:
            out += ['', '### %s' % theme.capitalize(), '', '| class | what | 1 | 2 | 3 |', '|---|---|---|---|---|', *of_theme]
    return '\n'.join(out[1:]) + '\n'


def split_readme(text):
    """README.md before, in and after its made part."""
    before, rest = text.split(BEGIN)
    inside, after = rest.split(END)
    return before + BEGIN, inside, END + after


def shown(report):
    """A report as a page shows it: of stacks only what is the page's."""
    lines = [line.rstrip() for line in report.splitlines()
             if not line.startswith('    #') or 'docs/bugs/' in line]
    lines = [re.sub(r'(    #\d+ \S+) \S*(docs/bugs/\S+)$', r'\1 \2', line) for line in lines]
    return [line for line in lines if line]
