#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""scripts/symbols finds each way in which headers, version map and library can disagree.

Usage: test-symbols.py SCRIPT
"""

import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = sys.argv.pop(1)

HEADER = """
/* int commented(void); DK_PUBLIC int commented_too(void); */
#define DK_PUBLIC __attribute__((visibility("default")))
DK_PUBLIC int one(void);
DK_PUBLIC __attribute__((format(printf, 1, 2))) void two(const char *format, ...);
DK_PUBLIC const char *const *three(int (*callback)(void *),
                                   void *data);
DK_PUBLIC extern const int four;
DK_PUBLIC void (*five(int number))(int);
static inline int inlined(void) { return 1; }
"""
SOURCE = """
#include <dmakit/x.h>
int one(void) { return 1; }
void two(const char *format, ...) { (void)format; }
const char *const *three(int (*callback)(void *), void *data) { (void)callback; return data; }
const int four = 4;
void (*five(int number))(int) { (void)number; return 0; }
"""
MAP = 'DMAKIT_0.1 {\nglobal:\n    five;\n    four;\n    one;\n    three;\n    two;\nlocal:\n    *;\n};\n'


class Symbols(unittest.TestCase):
    def check(self, header=HEADER, source=SOURCE, version_map=MAP, link_map=None, write=False):
        """The script's status, what it said, and the map afterwards, for a project of these three files."""
        with tempfile.TemporaryDirectory() as folder:
            top = pathlib.Path(folder)
            (top / 'include/dmakit').mkdir(parents=True)
            (top / 'src').mkdir()
            (top / 'include/dmakit/x.h').write_text(header, encoding='utf-8')
            (top / 'src/x.c').write_text(source, encoding='utf-8')
            (top / 'src/dmakit.map').write_text(version_map, encoding='utf-8')
            (top / 'link.map').write_text(link_map or version_map, encoding='utf-8')
            subprocess.run(['gcc', '-shared', '-fPIC', '-fvisibility=hidden', f'-I{top}/include',
                            f'-Wl,--version-script={top}/link.map', '-o', top / 'x.so', top / 'src/x.c'], check=True)
            done = subprocess.run([SCRIPT, *(['--write'] if write else []), '--top', folder, top / 'x.so'],
                                  capture_output=True, text=True, check=False)
            return done.returncode, done.stdout + done.stderr, (top / 'src/dmakit.map').read_text(encoding='utf-8')

    def test_agreement(self):
        status, said, _ = self.check()
        self.assertEqual((status, said), (0, 'symbols: 5 public, all agree\n'))

    def test_exported_but_not_declared(self):
        extra = SOURCE + '__attribute__((visibility("default"))) int stray(void) { return 0; }'
        status, said, _ = self.check(source=extra, link_map=MAP.replace('one;', 'one; stray;'))
        self.assertEqual(status, 1)
        self.assertIn('exports stray', said)

    def test_declared_but_not_exported(self):
        status, said, _ = self.check(source=SOURCE.replace('int one(void) { return 1; }', ''))
        self.assertEqual(status, 1)
        self.assertIn('one is DK_PUBLIC, but', said)

    def test_declared_without_public(self):
        status, said, _ = self.check(header=HEADER + 'int secret(void);\n')
        self.assertEqual(status, 1)
        self.assertIn('secret is declared without DK_PUBLIC', said)

    def test_map_lacks_one(self):
        status, said, _ = self.check(version_map=MAP.replace('    one;\n', ''), link_map=MAP)
        self.assertEqual(status, 1)
        self.assertIn('one is DK_PUBLIC, but not in src/dmakit.map', said)

    def test_map_has_one_too_many(self):
        status, said, _ = self.check(version_map=MAP.replace('one;', 'one;\n    gone;'), link_map=MAP)
        self.assertEqual(status, 1)
        self.assertIn('gone is in no public header', said)

    def test_other_version(self):
        status, said, _ = self.check(link_map=MAP.replace('DMAKIT_0.1', 'OTHER'))
        self.assertEqual(status, 1)
        self.assertIn('has version "OTHER" instead of DMAKIT_0.1', said)

    def test_write_mends_the_map(self):
        status, _, text = self.check(version_map=MAP.replace('    one;', '    gone;'), link_map=MAP, write=True)
        self.assertEqual(status, 0)
        self.assertIn('    one;\n', text)
        self.assertNotIn('gone', text)

    def test_write_keeps_old_versions(self):
        old = 'DMAKIT_0.1 {\nglobal:\n    one;\nlocal:\n    *;\n};\nDMAKIT_0.2 {\nglobal:\n    two;\n} DMAKIT_0.1;\n'
        _, _, text = self.check(version_map=old, link_map=MAP, write=True)
        first, _, second = text.partition('DMAKIT_0.2 {')
        self.assertIn('    one;\n', first)
        self.assertNotIn('three', first)
        self.assertIn('    three;\n', second)
        self.assertIn('} DMAKIT_0.1;', second)


if __name__ == '__main__':
    unittest.main()
