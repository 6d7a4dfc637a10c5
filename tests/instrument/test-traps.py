#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What can go wrong on the way to an instrumented program, and what it says then.

Compiles trap.c in ways that lose accesses, and compares what is seen and what the log says.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

NOT_SEEN = "loads and stores are not seen"


class Builder:
    def __init__(self, options, compiler, folder):
        self.options = options
        self.compiler = compiler
        self.folder = pathlib.Path(folder)

    def build(self, flags, links, name='trap', separate=False):
        """The program, or None when this compiler cannot build it so."""
        program = self.folder / name
        base = [self.compiler, '-g', '-D_GNU_SOURCE', '-pthread', f'-I{self.options.include}']
        libraries = self.options.libraries
        if separate:
            object_file = self.folder / f'{name}.o'
            steps = [base + flags + ['-c', self.options.source, '-o', object_file],
                     base + flags + [object_file, '-o', program] + libraries + links]
        else:
            steps = [base + flags + [self.options.source, '-o', program] + libraries + links]
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f'{self.compiler} {" ".join(flags)}: {done.stderr}')
                return None
        return program


def run(program):
    done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        sys.exit(f'{program}: exit {done.returncode}\n{done.stderr}')
    return done.stdout.strip(), done.stderr


def expect(what, output, seen, said):
    stdout, stderr = output
    if stdout != seen or (said and said not in stderr) or (not said and stderr):
        sys.exit(f'{what}: "{stdout}" instead of "{seen}"; said:\n{stderr}instead of: {said or "nothing"}')
    print(f'{what}: {stdout}{", and says so" if said else ""}')


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--source')
    parser.add_argument('--include')
    parser.add_argument('--flags')
    parser.add_argument('--links')
    parser.add_argument('--libraries', nargs='+')
    parser.add_argument('--compilers', nargs='+')
    options = parser.parse_args()
    flags = options.flags.split()
    links = options.links.split()

    for compiler in options.compilers:
        with tempfile.TemporaryDirectory() as folder:
            builder = Builder(options, compiler, folder)

            for separate in (False, True):
                program = builder.build(['-O2'] + flags, links, separate=separate)
                expect(f'{compiler}, {"two commands" if separate else "one command"}', run(program),
                       'stores 1 copies 1', None)
                needed = subprocess.run(['readelf', '-d', program], capture_output=True, text=True, check=True).stdout
                if 'tsan' in needed:
                    sys.exit(f'{compiler}: the other run time is linked:\n{needed}')

            # The C library's header makes other calls of what a program fortifies.
            fortified = [flag for flag in flags if not flag.startswith('-fno-builtin')]
            program = builder.build(['-O2', '-D_FORTIFY_SOURCE=2'] + flags, links)
            expect(f'{compiler}, fortified', run(program), 'stores 1 copies 1', None)

            program = builder.build(['-O2'], links[-1:])
            expect(f'{compiler}, not instrumented', run(program), 'stores 0 copies 0', NOT_SEEN)

            # Without the flags for that, copies are expanded by the compiler or made by the C library, unseen.
            program = builder.build(['-O2'] + fortified, [link for link in links if '--wrap' not in link])
            stdout, stderr = run(program)
            if 'copies 0' in stdout and 'memcpy() is not seen' not in stderr:
                sys.exit(f'{compiler}, expanded copies: {stdout} is not said:\n{stderr}')
            print(f'{compiler}, expanded copies: {stdout}')

            program = builder.build(['-O2'] + flags + ['-flto'], links, separate=True)
            if program:
                stdout, stderr = run(program)
                if stdout == 'stores 1 copies 1':
                    print(f'{compiler}, link-time optimisation: nothing is lost')
                else:
                    expect(f'{compiler}, link-time optimisation', (stdout, stderr), 'stores 0 copies 0',
                           'depth 2 instead')

    library = subprocess.run(['nm', '-D', '--undefined-only', options.libraries[-1]], capture_output=True, text=True,
                             check=True).stdout
    if 'tsan' in library:
        sys.exit('the library itself is instrumented')


main()
