#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The command `dmakit bench`: that every row runs and tells what it should; not how fast, which is the gate's."""
import json
import os
import subprocess
import sys
import unittest

DMAKIT = sys.argv[1]
# The goal is what the peer takes, and 5 ns and 5 % on top.
OVER_PEER = "over the peer"
ROWS = {"map-identity": ("ns", 4), "map-identity-inline": ("ns", 1.5), "sg-16": ("ns", 60), "coherent": ("ns", None), "page-pair": ("ns", None),
        "iova": ("ns", 4.2), "iova-fragmented": ("ns", 40), "iommu-1": ("ns", 10), "iommu-16": ("ns", 50), "iommu-256": ("ns", 100),
        "check-depth-0": ("x", 1.05), "check-depth-1": ("x", 1.3), "check-depth-2": ("x", 2),
        # What a sanitizer builds has no instrumented rows of its own.
        **({"check-depth-3": ("x", 8), "check-depth-3-ordinary": ("x", 1.3)} if "--instrumented" in sys.argv else {}),
        "bounce-64": ("ns", OVER_PEER), "bounce-4096": ("ns", OVER_PEER), "bounce-256k": ("ns", OVER_PEER),
        **{f"contig-{order}-{occupancy}": ("ns", 15) for order in (0, 4, 8)
           for occupancy in ("0", "50-packed", "50-churned", "90-packed", "90-churned")},
        "contig-fail": ("ns", 10),
        "pool-pair": ("ns", 4.2), "pool-pair-inline": ("ns", 2), "pool-spaced": ("ns", None), "pool-batch-64": ("ns", 2.5),
        "pool-batch-256": ("ns", 2.5), "pool-batch-4k": ("ns", 2.5), "pool-2t": ("ns", 3.5), "pool-handoff": ("ns", 10)}
GROWTH = [*(f"pool-growth-1e{power}" for power in range(3, 8)), *(f"contig-growth-{log}" for log in range(10, 25, 2)),
          *(f"contig-fail-growth-{log}" for log in range(10, 25, 2))]
# Peers besides the first: some have others that every computer has, and some more where they are installed.
OTHERS = {"pool-spaced": 1, "pool-handoff": 1}


class Bench(unittest.TestCase):
    def bench(self, *arguments, **environment):
        return subprocess.run([DMAKIT, "bench", *arguments], capture_output=True, text=True, timeout=150, check=False,
                              env={**os.environ, **environment})

    def test_all_rows(self):
        # What a user's environment says must not reach the rows.
        done = self.bench("--json", DMAKIT_BOARD="/no/such.dtb", DMAKIT_OPTIONS="depth=2:seed=3")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        told = json.loads(done.stdout)
        self.assertTrue(told["machine"])
        self.assertEqual([(row["row"], row["unit"]) for row in told["rows"]],
                         [(name, unit) for name, (unit, _) in ROWS.items()])
        for row in told["rows"]:
            with self.subTest(row=row["row"]):
                if row["unit"] == "ns":  # of a ratio, each is of its own
                    self.assertLessEqual(row["min"], row["median"])
                self.assertGreaterEqual(len(row["peers"]), 1 + OTHERS.get(row["row"], 0))
                if not row["row"].startswith("pool-"):
                    self.assertEqual(len(row["peers"]), 1)
                peer = row["peers"][0]
                if ROWS[row["row"]][1] == OVER_PEER:
                    self.assertAlmostEqual(row["goal"], peer["min"] * 1.05 + 5, delta=row["goal"] / 1000)
                else:
                    self.assertEqual(row["goal"], ROWS[row["row"]][1])
                self.assertTrue(peer["name"])
                self.assertTrue(0 < peer["min"] <= peer["median"])
                self.assertGreater(row["min"], 0)

    def test_text_and_choice(self):
        done = self.bench("sg-16", "map-identity")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        rows = done.stdout.split("\n\n")[1].strip().split("\n")
        self.assertEqual([row.split()[0] for row in rows], ["row", "map-identity", "sg-16"])
        self.assertRegex(rows[1], r" (yes|MISSED) +empty call: ")
        # 100 columns, and some for what takes microseconds in a sanitizer's build.
        self.assertTrue(all(len(row) <= 110 for row in rows), rows)

    def test_list(self):
        done = self.bench("--list")
        self.assertEqual([line.split()[0] for line in done.stdout.strip().split("\n")], list(ROWS))

    def test_growth(self):
        done = self.bench("--growth", "--list")
        self.assertEqual([line.split()[0] for line in done.stdout.strip().split("\n")], GROWTH)
        # Those that take little memory.
        names = ["pool-growth-1e3", "contig-growth-10", "contig-fail-growth-10"]
        told = json.loads(self.bench("--json", *names).stdout)["rows"]
        self.assertEqual([row["row"] for row in told], names)
        for row in told:
            self.assertEqual((row["goal"], len(row["peers"])), (None, 1))
            self.assertTrue(0 < row["min"] <= row["median"])

    def test_refusals(self):
        for arguments, pattern in ((["no-such-row"], "no row 'no-such-row'"), (["--bad"], "bad option '--bad'")):
            done = self.bench(*arguments)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertRegex(done.stderr, r"\Admakit bench: [^\n]*" + pattern + r"[^\n]*\n\Z")
        self.assertIn("Usage: dmakit bench", self.bench("--help").stdout)
        self.assertEqual(self.bench("--version").returncode, 0)

    def test_gate_says_when_a_goal_is_missed(self):
        done = self.bench("--gate", "--json", "map-identity")
        row = json.loads(done.stdout)["rows"][0]
        self.assertEqual(done.returncode, 1 if row["min"] > row["goal"] else 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
