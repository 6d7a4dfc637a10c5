# SPDX-License-Identifier: MIT
"""Pages with programs and what they print."""

import re


def fenced(text, language):
    """The blocks of @language in the page @text."""
    return [block for found, block in re.findall(r'^```(\w*)\n(.*?)^```$', text, flags=re.S | re.M) if found == language]


def plain(output):
    """@output without what differs from run to run: addresses, folders, and the frames below the first."""
    lines = []
    for line in output.splitlines():
        frame = re.match(r'    #(\d+) (\S+) (\S+/)?(\S+:\d+)', line)
        if line.startswith('    #') and not frame:
            continue
        if frame:
            if frame.group(1) != '0':
                continue
            line = '    #0 %s %s' % (frame.group(2), frame.group(4))
        lines.append(re.sub(r'0x[0-9a-f]+', '0x…', line).rstrip())
    return [line for line in lines if line]


def mended(source, diff):
    """@source with the one hunk of @diff, which has no line numbers."""
    lines = diff.splitlines(keepends=True)
    before = ''.join(line[1:] for line in lines if line[0] != '+')
    after = ''.join(line[1:] for line in lines if line[0] != '-')
    if source.count(before) != 1:
        raise ValueError('the diff fits in %d places' % source.count(before))
    return source.replace(before, after)
