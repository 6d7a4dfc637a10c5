#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""gate.py PROGRAM LIMITS: instructions and locked instructions an operation, counted by callgrind, against LIMITS.

PROGRAM runs a row's operation N and then 2 N times under callgrind; the difference, divided by N, is the operation. Callgrind
counts each instruction by its address, so the locked ones are those that objdump shows with a lock prefix, or as an
xchg with memory. Exit 0: all within their limits; 1: one is above; 77: cannot be counted here."""
import collections
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile

COUNT = 2000


def read_limits(path):
    with open(path, encoding="ascii") as file:
        rows = [line.split() for line in file if line.strip() and not line.startswith("#")]
    return [(row, float(instructions), float(locked)) for row, instructions, locked in rows]


def count_addresses(program, row, count, folder):
    """How often each instruction ran: {(object, address): times}."""
    out = os.path.join(folder, f"{row}-{count}")
    done = subprocess.run(["valgrind", "--tool=callgrind", "--dump-instr=yes", "--compress-strings=no",
                           "--compress-pos=no", f"--callgrind-out-file={out}", program, row, str(count)],
                          check=False, capture_output=True, text=True, timeout=120)
    if done.returncode:
        sys.exit(f"gate.py: {row} does not run under valgrind:\n{done.stderr}")
    times = collections.Counter()
    place = ""
    call = False
    with open(out, encoding="utf-8") as file:
        for line in file:
            if line.startswith("ob="):
                place = line[3:].strip()
            elif line.startswith("calls="):
                call = True  # the next line is what the callee cost, which stands at the callee too
            elif line.startswith("0x"):
                if not call:
                    address, _, cost = line.split()
                    times[place, int(address, 16)] += int(cost)
                call = False
    return times


def locked_addresses(place):
    """The addresses of locked instructions in the object file at `place`."""
    listing = subprocess.run(["objdump", "-d", "--no-show-raw-insn", place], check=True, capture_output=True,
                             text=True).stdout
    found = set()
    for line in listing.split("\n"):
        match = re.match(r"\s*([0-9a-f]+):\s+(?:lock\b|xchg\w*\s.*\()", line)
        if match:
            found.add(int(match.group(1), 16))
    return found


def measure(program, row, folder, locked_in):
    once = count_addresses(program, row, COUNT, folder)
    twice = count_addresses(program, row, 2 * COUNT, folder)
    difference = {key: twice[key] - once[key] for key in twice}
    instructions = sum(difference.values()) / COUNT
    locked = 0
    for (place, address), times in difference.items():
        if not times or not os.path.isfile(place):
            continue
        if place not in locked_in:
            locked_in[place] = locked_addresses(place)
        if address in locked_in[place]:
            locked += times
    return instructions, locked / COUNT


def main():
    built, limits = sys.argv[1:]
    if platform.machine() != "x86_64" or not shutil.which("valgrind") or not shutil.which("objdump"):
        print("needs valgrind and binutils on x86-64")
        return 77
    above = 0
    locked_in = {}
    print(f"{'row':20} {'instructions':>12} {'limit':>6} {'locked':>7} {'limit':>6}")
    with tempfile.TemporaryDirectory() as folder:
        # Valgrind does not read every compiler's debugging information, and has no need of it.
        program = os.path.join(folder, "program")
        subprocess.run(["strip", "--strip-debug", "-o", program, built], check=True)
        for row, most_instructions, most_locked in read_limits(limits):
            instructions, locked = measure(program, row, folder, locked_in)
            wrong = instructions > most_instructions or locked > most_locked or instructions < 1
            above += wrong
            print(f"{row:20} {instructions:12.2f} {most_instructions:6g} {locked:7.2f} {most_locked:6g}"
                  f"{'  ABOVE' if wrong else ''}", flush=True)
    return 1 if above else 0


if __name__ == "__main__":
    sys.exit(main())
