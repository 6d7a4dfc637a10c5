# SPDX-License-Identifier: MIT
"""Reads the pages of docs/bugs/. Their form is described in docs/bugs/README.md."""

import os
import re

THEMES = ['ownership', 'ordering', 'mapping', 'unmapping', 'syncing', 'scatterlists', 'addresses and limits',
          'lifetime', 'pools', 'small memory', 'contiguous memory']
HEADINGS = [['On a PC'], ['Example'], ['Report'], ['Mend'], ['It happened', 'The rule']]
FACTS = ['theme', 'bus', 'arguments', 'board', 'after']


class Malformed(Exception):
    """A page that is not as the README says, or an example that its mend does not fit."""


class Block:
    """A fenced block: its language, its lines, and the line of the page that the first one stands on."""

    def __init__(self, language, lines, first):
        self.language, self.lines, self.first = language, lines, first


class Page:
    """One page. For all fields: lines are numbered from 1, as compilers do."""

    def __init__(self, folder, name):
        self.name = name
        self.path = os.path.join(folder, name + '.md')
        with open(self.path, encoding='utf-8') as file:
            self.lines = file.read().split('\n')
        self.facts = self.read_facts()
        self.sections, self.blocks = self.read_sections()
        code = self.blocks_of('Example', 'c')
        if not 1 <= len(code) <= 2:
            raise Malformed('%s: one C block is the example, and one before it may stand outside of it' % self.path)
        self.outside = code[0] if len(code) == 2 else None
        self.example = code[-1]
        reports = self.blocks_of('Report', '')
        mends = self.blocks_of('Mend', 'diff')
        if len(reports) != 1 or len(mends) != 1:
            raise Malformed('%s: there must be one report and one diff' % self.path)
        self.report, self.mend = reports[0], mends[0]

    def classes(self):
        """The classes of the example's reports: its own, and before it one that it always comes with."""
        return [self.facts['after'], self.name] if 'after' in self.facts else [self.name]

    def read_facts(self):
        if len(self.lines) < 3 or self.lines[0] != '# ' + self.name:
            raise Malformed('%s: the first line is not its name' % self.path)
        match = re.fullmatch(r'\*(.*)\*', self.lines[2])
        facts = dict(part.split(': ', 1) for part in match.group(1).split('; ')) if match else {}
        if facts.get('theme') not in THEMES or set(facts) - set(FACTS):
            raise Malformed('%s: the third line is not *theme: …*' % self.path)
        return facts

    def read_sections(self):
        sections, blocks = [('', [])], []
        fence = None
        for number, line in enumerate(self.lines, 1):
            if line.startswith('```'):
                if fence is None:
                    fence = Block(line[3:], [], number + 1)
                else:
                    blocks.append((sections[-1][0], fence))
                    fence = None
            elif fence is not None:
                fence.lines.append(line)
            elif line.startswith('## '):
                sections.append((line[3:], []))
            else:
                sections[-1][1].append(line)
        names = [name for name, _ in sections[1:]]
        if len(names) != len(HEADINGS) or any(name not in allowed for name, allowed in zip(names, HEADINGS)):
            raise Malformed('%s: the headings are %s' % (self.path, names))
        return {name: '\n'.join(lines).strip() for name, lines in sections}, blocks

    def blocks_of(self, section, language):
        return [block for of, block in self.blocks if of == section and block.language == language]

    def wrong(self):
        """The example: pairs of a line and its number in the page."""
        return [(line, self.example.first + i) for i, line in enumerate(self.example.lines)]

    def mended(self):
        """The example with the diff applied; each hunk fits at one place only."""
        lines, done = self.wrong(), 0
        for hunk in self.hunks():
            old = [line[1:] for line, _ in hunk if line[:1] in ' -']
            places = [at for at in range(done, len(lines) - len(old) + 1)
                      if [line for line, _ in lines[at:at + len(old)]] == old]
            if len(places) != 1:
                raise Malformed('%s:%d: the hunk fits at %d places' % (self.path, hunk[0][1], len(places)))
            at, new = places[0], []
            kept = iter(lines[at:at + len(old)])
            for line, number in hunk:
                if line[:1] == '+':
                    new.append((line[1:], number))
                else:
                    pair = next(kept)
                    if line[:1] == ' ':
                        new.append(pair)
            lines[at:at + len(old)] = new
            done = at + len(new)
        return lines

    def hunks(self):
        hunks = [[]]
        for i, line in enumerate(self.mend.lines):
            if line.startswith('@@'):
                hunks.append([])
            elif line[:1] in (' ', '+', '-'):
                hunks[-1].append((line, self.mend.first + i))
            else:
                raise Malformed('%s:%d: no line of a diff' % (self.path, self.mend.first + i))
        return [hunk for hunk in hunks if hunk]


def names(folder):
    return sorted(name[:-3] for name in os.listdir(folder) if name.endswith('.md') and name != 'README.md')


def read(folder):
    """All pages, by name."""
    return {name: Page(folder, name) for name in names(folder)}


def plain(report):
    """A report without what differs from run to run and from build to build: addresses, and frames that are none of
    a page's."""
    lines = []
    for line in report.splitlines():
        frame = re.match(r'    #\d+ (\S+) (\S*/)?docs/bugs/(\S+)$', line)
        if line.startswith('    #') and not frame:
            continue
        if frame:
            line = '    #0 %s docs/bugs/%s' % (frame.group(1), frame.group(3))
        lines.append(re.sub(r'0x[0-9a-f]+', '0x…', line).rstrip())
    return [line for line in lines if line]
