#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A second, plain reading of boards, to compare the library's with.

It shares nothing with the library: its own blob parser, its own walk of dma-ranges, its own placement of dynamic
regions, all as slow as they are simple, written from the description of `machine --json` and docs/boards.md.

    board-reading.py PROGRAM BOARD...   compares PROGRAM's document of each board with its own
    board-reading.py PROGRAM            the same for the boards in the folder $DMAKIT_TEST_BOARDS
    board-reading.py --print BOARD      prints its own document

Exit 0: all agree; 1: some do not; 77: there are no boards to compare.
"""
import json
import os
import struct
import subprocess
import sys

GIB = 1 << 30
TIB = 1 << 40


class Node:
    def __init__(self, name, parent):
        self.name = name
        self.parent = parent
        self.props = {}
        self.children = []
        self.path = '/' if parent is None else (parent.path if parent.parent else '') + '/' + name

    def cells(self, prop):
        return list(struct.unpack('>%dI' % (len(self.props[prop]) // 4), self.props[prop]))

    def strings(self, prop):
        value = self.props[prop]
        return value.decode('latin-1').split('\0')[:-1] if value else []

    def string(self, prop, default=''):
        return (self.strings(prop) or [''])[0] if prop in self.props else default

    def above(self):
        node = self.parent
        while node:
            yield node
            node = node.parent

    def all(self):
        yield self
        for child in self.children:
            yield from child.all()

    def enabled(self):
        return all(n.string('status', 'okay') in ('okay', 'ok') for n in [self, *self.above()])

    def count(self, prop):
        """#address-cells or #size-cells: its own, or the nearest above, or 1."""
        for node in [self, *self.above()]:
            if prop in node.props:
                return node.cells(prop)[0]
        return 1

    def child(self, name):
        return next((c for c in self.children if c.name == name), None)


def parse(blob):
    """The root node and the entries of the reservation block."""
    magic, _, off_struct, off_strings, off_reserve = struct.unpack_from('>5I', blob)
    assert magic == 0xd00dfeed
    entries = []
    while True:
        base, size = struct.unpack_from('>2Q', blob, off_reserve)
        if not size:
            break
        entries.append((base, size))
        off_reserve += 16
    at, node, root = off_struct, None, None
    while True:
        tag, = struct.unpack_from('>I', blob, at)
        at += 4
        if tag == 1:
            end = blob.index(b'\0', at)
            child = Node(blob[at:end].decode('latin-1'), node)
            if node:
                node.children.append(child)
            else:
                root = child
            node = child
            at = (end + 4) & ~3
        elif tag == 2:
            node = node.parent
        elif tag == 3:
            size, name = struct.unpack_from('>2I', blob, at)
            start = off_strings + name
            key = blob[start:blob.index(b'\0', start)].decode('latin-1')
            node.props.setdefault(key, blob[at + 8:at + 8 + size])
            at = (at + 8 + size + 3) & ~3
        elif tag == 9:
            return root, entries
        else:
            assert tag == 4


def number(cells):
    value = 0
    for cell in cells:
        value = value << 32 | cell
    return value


def rows(cells, *widths):
    step = sum(widths)
    for at in range(0, len(cells), step):
        row, out = cells[at:at + step], []
        for width in widths:
            out.append(row[:width])
            row = row[width:]
        yield out


def address_of(cells):
    return number(cells[1:] if len(cells) == 3 else cells)


def is_pci(node):
    return node is not None and node.string('device_type') in ('pci', 'pciex')


def space(bus, cells):
    """On PCI: memory (32 and 64 bits alike), I/O or configuration. Elsewhere there is one space."""
    return {0: 0, 1: 1, 2: 2, 3: 2}[cells[0] >> 24 & 3] if is_pci(bus) else 0


def ranges_of(bus):
    up = bus.parent or bus
    return [((space(bus, child), address_of(child)), (space(up, parent), address_of(parent)), number(size))
            for child, parent, size in rows(bus.cells('dma-ranges'), bus.count('#address-cells'),
                                            up.count('#address-cells'), bus.count('#size-cells'))]


def to_root(bus, address):
    """@address on the bus above @bus, as the CPU sees it; None when no row on the way has it."""
    for up in bus.above():
        if not up.props.get('dma-ranges'):
            continue
        for child, parent, size in ranges_of(up):
            if child[0] == address[0] and child[1] <= address[1] < child[1] + size:
                address = (parent[0], address[1] - child[1] + parent[1])
                break
        else:
            return None
    return address[1]


def windows(bus):
    """What children of @bus see."""
    node, first = bus, True
    while node:
        value = node.props.get('dma-ranges')
        if value:
            out = []
            for child, parent, size in ranges_of(node):
                cpu = to_root(node, parent)
                if cpu is not None and size and cpu + size <= 1 << 64:
                    out.append({'dma': hex(child[1]), 'cpu': hex(cpu), 'size': hex(size)})
            return out
        if value is None and not first:
            return []
        node, first = node.parent, False
    return []


def is_coherent(node, by_default):
    for n in [node, *node.above()]:
        if 'dma-coherent' in n.props:
            return True
        if 'dma-noncoherent' in n.props:
            return False
    return by_default


def default_coherency(root):
    cpus = root.child('cpus')
    for cpu in cpus.children if cpus else []:
        kinds = cpu.strings('compatible') if 'compatible' in cpu.props else []
        if cpu.name.startswith('PowerPC,') or any(
                k.startswith(('riscv', 'PowerPC,', 'intel,ce4100', 'intel,x86', 'x86')) for k in kinds):
            return True
    return False


def first_iommu(node, phandles):
    cells = node.cells('iommus') if 'iommus' in node.props else []
    while cells and not cells[0]:
        cells.pop(0)
    if not cells:
        return None
    iommu = phandles[cells[0]]
    return iommu.path if iommu.enabled() else None


def iommu_map(node, phandles):
    if 'iommu-map' not in node.props:
        return []
    mask = node.cells('iommu-map-mask')[0] if 'iommu-map-mask' in node.props else 0xffffffff
    out = []
    for rid, phandle, ident, count in rows(node.cells('iommu-map'), 1, 1, 1, 1):
        iommu = phandles[phandle[0]]
        if iommu.enabled() and count[0]:
            out.append({'rid': hex(rid[0]), 'mask': hex(mask), 'iommu': iommu.path, 'id': hex(ident[0]),
                        'count': hex(count[0])})
    return out


def read_devices(root, phandles):
    by_default = default_coherency(root)
    out = []
    for node in root.all():
        if not node.enabled() or 'compatible' not in node.props:
            continue
        regions = [phandles[p].path for p in node.cells('memory-region') if p] if 'memory-region' in node.props else []
        device = {'node': node.path, 'compatible': node.strings('compatible'),
                  'coherent': is_coherent(node, by_default), 'iommu': first_iommu(node, phandles),
                  'windows': windows(node.parent) if node.parent else [], 'regions': regions}
        if is_pci(node) and not is_pci(node.parent):
            device['below'] = {'windows': windows(node), 'iommu_map': iommu_map(node, phandles)}
        out.append(device)
    return out


def memory_nodes(root):
    return [n for n in root.children if n.string('device_type') == 'memory' and n.enabled()]


def read_memory(root):
    out = []
    for node in memory_nodes(root):
        if 'reg' not in node.props:
            continue
        for base, size in rows(node.cells('reg'), root.count('#address-cells'), root.count('#size-cells')):
            if number(size):
                out.append((number(base), number(size)))
    return sorted(out)


class Region:
    """A reserved region: (node, kind, base, size), and what a dynamic one asks for."""

    def __init__(self, path, kind, base, size):
        self.path, self.kind, self.base, self.size = path, kind, base, size
        self.reason = None
        self.align, self.ranges, self.dynamic, self.default, self.props = 4096, None, False, False, {}

    def overlaps(self, base, size):
        return self.base < base + size and base < self.base + self.size


def kind_of(node):
    kinds = node.strings('compatible') if 'compatible' in node.props else []
    if 'shared-dma-pool' in kinds:
        return 'cma' if 'reusable' in node.props else 'coherent'
    if 'restricted-dma-pool' in kinds:
        return 'restricted'
    return 'no-map' if 'no-map' in node.props else 'reserved'


def read_reserved(root, entries):
    out = [Region('/memreserve/@%x' % base, 'reserved', base, size) for base, size in entries]
    parent = root.child('reserved-memory')
    na, ns = root.count('#address-cells'), root.count('#size-cells')
    for node in parent.children if parent else []:
        if not node.enabled():
            continue
        kind = kind_of(node)
        if 'reg' in node.props:
            mine = [Region(node.path, kind, number(b), number(s)) for b, s in rows(node.cells('reg'), na, ns)]
        else:
            mine = [Region(node.path, kind, 0, number(node.cells('size')))]
            mine[0].dynamic = True
            if 'alignment' in node.props:
                mine[0].align = max(mine[0].align, number(node.cells('alignment')))
            if kind == 'cma':
                mine[0].align = max(mine[0].align, 2 << 20)
            if 'alloc-ranges' in node.props:
                mine[0].ranges = [(number(b), number(s)) for b, s in rows(node.cells('alloc-ranges'), na, ns)]
        for region in mine:
            region.props = node.props
            if 'reusable' in node.props and 'no-map' in node.props:
                region.reason = 'both'
        out += mine
    return out


def assume(root, regions):
    """The stated default, where the tree has no memory."""
    stated = [number(n.cells('reg')[:root.count('#address-cells')]) for n in memory_nodes(root) if 'reg' in n.props]
    held = [(r.base, r.size, r.kind) for r in regions if not r.dynamic and not r.reason]
    held += [(r.ranges[0][0], r.size, r.kind) for r in regions if r.ranges and not r.reason]
    pools = ('cma', 'coherent', 'restricted')
    bases = [b // GIB * GIB for b, _, kind in held if not stated or kind in pools]
    base = min(stated[:1] + [b for b in bases if not stated or stated[0] - b < TIB], default=0)
    size = GIB
    for start, length, _ in held:
        if base <= start and start + length - base <= TIB:
            while base + size < start + length:
                size *= 2
    while size < 2 * sum(r.size for r in regions if r.dynamic and not r.reason):
        size *= 2
    return [(min(base, (1 << 64) - size), size)]


def joined(memory):
    out = []
    for base, size in memory:
        if out and out[-1][0] + out[-1][1] == base:
            base, size = out[-1][0], out.pop()[1] + size
        out.append((base, size))
    return out


def place(memory, taken, region):
    """The highest aligned base in memory, within the first of the region's ranges that has one."""
    for low, length in region.ranges or [(0, 1 << 64)]:
        for base, size in reversed(memory):
            start, end = max(base, low), min(base + size, low + length)
            # Only just below the end or just below something taken can the highest place be.
            tops = sorted([end] + [t.base for t in taken if start < t.base < end], reverse=True)
            for top in tops:
                at = (top - region.size) // region.align * region.align
                if at >= start and not any(t.overlaps(at, region.size) for t in taken):
                    return at
    return None


def uncached_alias(root):
    chosen = root.child('chosen')
    if chosen is None or 'dmakit,uncached-alias' not in chosen.props:
        return None
    na, ns = root.count('#address-cells'), root.count('#size-cells')
    return [number(part) for part in next(rows(chosen.cells('dmakit,uncached-alias'), na, na, ns))]


def check_statics(memory, regions, alias):
    """Pools outside memory fail, and what overlaps an earlier one."""
    pools = ('cma', 'coherent', 'restricted')
    sound = []
    for region in regions:
        if region.dynamic or region.reason:
            continue
        base = region.base
        if alias and region.kind == 'coherent' and alias[0] <= base and base + region.size <= alias[0] + alias[2]:
            base += alias[1] - alias[0]
        if not region.size:
            region.reason = 'empty'
        elif region.kind in pools and not any(b <= base and base + region.size <= b + s for b, s in memory):
            region.reason = 'outside memory'
        for other, other_base in sound:
            entry = any(r.path.startswith('/memreserve/') for r in (region, other))
            if entry and not any(r.kind in pools for r in (region, other)):
                continue
            if base < other_base + other.size and other_base < base + region.size:
                region.reason = 'overlap'
        if not region.reason:
            sound.append((region, base))
    return [Region(r.path, r.kind, base, r.size) for r, base in sound]


def settle(memory, regions, alias):
    """Statuses, bases and defaults."""
    taken = check_statics(memory, regions, alias)
    for region in regions:
        if region.dynamic and not region.reason:
            base = place(memory, taken, region)
            if base is None:
                region.reason = 'no room'
            else:
                region.base = base
                taken.append(region)
    for kind, prop in (('cma', 'linux,cma-default'), ('coherent', 'linux,dma-default')):
        able = [r for r in regions if r.kind == kind and not r.reason and prop in r.props]
        if able:
            able[-1].default = True


def read_dies(root, phandles):
    modes = {'bank': 'bank-selective', 'segment': 'segment-selective'}
    nodes = [n for n in root.all() if n.enabled() and 'dmakit,pasr' in n.props]
    dies = {}
    for node in nodes:
        width = node.cells('io-width')[0]
        chips = node.parent.cells('io-width')[0] // width if 'io-width' in node.parent.props else 1
        sections = node.cells('dmakit,sections')[0] if 'dmakit,sections' in node.props else 8
        mode = node.string('dmakit,pasr')
        dies[node] = {'node': node.path, 'mode': modes.get(mode, mode), 'sections': sections, 'partner': None,
                      'section_size': node.cells('density')[0] * 131072 * chips // sections}
        dies[node]['stride'] = dies[node]['section_size']
        if 'dmakit,base' in node.props:
            dies[node]['base'] = number(node.cells('dmakit,base'))
    for node in nodes:
        if 'dmakit,interleaved-with' in node.props:
            first, second = dies[phandles[node.cells('dmakit,interleaved-with')[0]]], dies[node]
            first['partner'], second['partner'] = second['node'], first['node']
            first['stride'] = second['stride'] = 2 * first['section_size']
            second['base'] = first['base'] + first['section_size']
    return [{k: hex(v) if k in ('base', 'section_size', 'stride') else v for k, v in dies[n].items()} for n in nodes]


def document(blob):
    root, entries = parse(blob)
    phandles = {n.cells(p)[0]: n for n in root.all() for p in ('linux,phandle', 'phandle') if p in n.props}
    regions = read_reserved(root, entries)
    memory = read_memory(root) or assume(root, regions)
    settle(joined(memory), regions, uncached_alias(root))
    dies = read_dies(root, phandles)
    return {'model': root.string('model'),
            'compatible': root.strings('compatible') if 'compatible' in root.props else [],
            'memory': [{'base': hex(b), 'size': hex(s)} for b, s in memory],
            'reserved': [{'node': r.path, 'kind': r.kind, 'base': hex(r.base), 'size': hex(r.size),
                          'default': r.default, 'dynamic': r.dynamic, 'status': 'failed' if r.reason else 'ok'}
                         for r in regions],
            'devices': read_devices(root, phandles),
            **({'dies': dies} if dies else {})}


def blob_of(path):
    with open(path, 'rb') as f:
        data = f.read()
    if data[:4] == b'\xd0\x0d\xfe\xed':
        return data
    return subprocess.run(['dtc', '-q', '-I', 'dts', '-O', 'dtb', '-o', '-', path], check=True,
                          stdout=subprocess.PIPE).stdout


def differences(ours, theirs, where=''):
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(set(ours) | set(theirs)):
            if key not in ours or key not in theirs:
                yield '%s.%s: in one only' % (where, key)
            else:
                yield from differences(ours[key], theirs[key], where + '.' + key)
    elif isinstance(ours, list) and isinstance(theirs, list):
        if len(ours) != len(theirs):
            yield '%s: %d here, %d there' % (where, len(ours), len(theirs))
        for at, (a, b) in enumerate(zip(ours, theirs)):
            name = a.get('node', at) if isinstance(a, dict) else at
            yield from differences(a, b, '%s[%s]' % (where, name))
    elif ours != theirs:
        yield '%s: plain reading %r, library %r' % (where, ours, theirs)


def compare(program, path):
    printed = subprocess.run([program, path], stdout=subprocess.PIPE, check=False)
    if printed.returncode:
        return ['the library refuses it']
    theirs = json.loads(printed.stdout)
    for region in theirs['reserved']:
        # The wording of a reason is the library's; that there is one is not.
        if (region.pop('reason') is None) != (region['status'] == 'ok'):
            return ['%s: status and reason disagree' % region['node']]
    return list(differences(document(blob_of(path)), theirs))


def main(arguments):
    if arguments[0] == '--print':
        print(json.dumps(document(blob_of(arguments[1])), indent=1))
        return 0
    program, boards = arguments[0], arguments[1:]
    folder = os.environ.get('DMAKIT_TEST_BOARDS')
    if not boards and folder:
        boards = sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(('.dtb', '.dts')))
    if not boards:
        print('skipped: DMAKIT_TEST_BOARDS names no folder with boards')
        return 77
    wrong = 0
    for path in boards:
        found = compare(program, path)
        print('%s: %s' % (os.path.basename(path), '%d differences' % len(found) if found else 'agrees'))
        for line in found[:20]:
            print('   ', line)
        wrong += bool(found)
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
