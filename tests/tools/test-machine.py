#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The command `dmakit machine` as its users meet it: exit codes, one-line errors, text, JSON, drawings."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

DMAKIT = sys.argv[1]

GOOD = """/dts-v1/;
/memreserve/ 0x1000 0x2000;
/ { #address-cells = <2>; #size-cells = <2>; model = "Test \\"board\\""; compatible = "dmakit,test", "dmakit,any";
    memory@0 { device_type = "memory"; reg = <0x0 0x0 0x0 0x40000000>, <0x1 0x0 0x7d 0x0>; };
    reserved-memory { #address-cells = <2>; #size-cells = <2>; ranges;
        cma { compatible = "shared-dma-pool"; reusable; size = <0x0 0x1000000>; linux,cma-default; };
        pool: pool@20000000 { compatible = "shared-dma-pool"; no-map; reg = <0x0 0x20000000 0x0 0x100000>; };
        bounce@21000000 { compatible = "restricted-dma-pool"; reg = <0x0 0x21000000 0x0 0x400000>; };
        firmware@22000000 { no-map; reg = <0x0 0x22000000 0x0 0x1000>; };
        plain@23000000 { reg = <0x0 0x23000000 0x0 0x1000>; };
        %s
    };
    smmu: iommu@9000 { compatible = "arm,smmu-v3"; reg = <0x0 0x9000 0x0 0x1000>; #iommu-cells = <1>; };
    soc { #address-cells = <1>; #size-cells = <1>; compatible = "simple-bus"; ranges = <0x0 0x0 0x0 0x10000>;
        dma-ranges = <0xc0000000 0x0 0x0 0x40000000>;
        nic@1000 { compatible = "dmakit,nic"; reg = <0x1000 0x100>; memory-region = <&pool>; };
        gpu@2000 { compatible = "dmakit,gpu"; reg = <0x2000 0x100>; iommus = <&smmu 1>; dma-coherent; };
        off@3000 { compatible = "dmakit,off"; reg = <0x3000 0x100>; status = "disabled"; };
    };
};
"""
BAD_REGION = "huge { size = <0x1000 0x0>; };"
REGIONS = ["/memreserve/@1000"] + ["/reserved-memory/" + name for name in (
    "cma", "pool@20000000", "bounce@21000000", "firmware@22000000", "plain@23000000")]


class Machine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.good = cls.path("good.dts", GOOD % "")
        cls.failed = cls.path("failed.dts", GOOD % BAD_REGION)
        cls.rubbish = cls.path("rubbish.dtb", "not a tree at all\n" * 9)
        cls.empty = cls.path("empty.dtb", "")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def path(cls, name, content=None):
        path = os.path.join(cls.folder.name, name)
        if content is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(content)
        return path

    def run_dmakit(self, *arguments, **options):
        options.setdefault("stdout", subprocess.PIPE)
        return subprocess.run([DMAKIT, *arguments], stderr=subprocess.PIPE, text=True, timeout=60, check=False,
                              **options)

    def machine(self, *arguments, expect=0):
        done = self.run_dmakit("machine", *arguments)
        self.assertEqual(done.returncode, expect, done.stderr)
        return done.stdout

    def test_refusals_are_one_line_and_exit_2(self):
        full = self.path("full.svg")
        os.symlink("/dev/full", full)
        cases = [
            ([], "--help"),
            (["frobnicate"], "frobnicate"),
            (["--frobnicate"], "--frobnicate"),
            (["machine"], "no board"),
            (["machine", self.good, self.good], "more than one"),
            (["machine", "--frobnicate", self.good], "--frobnicate"),
            (["machine", "-x", self.good], "-x"),
            (["machine", "--json=yes", self.good], "--json"),
            (["machine", self.good, "--memory"], "--memory needs a value"),
            (["machine", self.path("missing.dtb")], "missing.dtb"),
            (["machine", self.path("new\nline.dtb")], "new?line.dtb"),
            (["machine", self.folder.name], self.folder.name),
            (["machine", self.rubbish], "rubbish.dtb"),
            (["machine", self.empty], "empty.dtb"),
            (["machine", "--draw", "map.gif", self.good], "map.gif"),
            (["machine", "--draw", self.path("no/such/folder.svg"), self.good], "No such file"),
            (["machine", "--draw", self.path("no/such/folder.png"), self.good], "No such file"),
            (["machine", "--draw", full, self.good], "No space"),
        ]
        cases += [(["machine", "--memory", spec, self.good], "--memory")
                  for spec in ("", "banana", "1G", "1G@", "@0x0", "1G@0x0,", "1G@0x0,1G@0x0", "0@0x0",
                               "1G@0xffffffffffffffff")]
        for arguments, word in cases:
            with self.subTest(arguments=arguments):
                done = self.run_dmakit(*arguments)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertEqual(done.stdout, "")
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
                self.assertTrue(done.stderr.startswith("dmakit"), done.stderr)
                self.assertIn(word, done.stderr)

    def test_full_standard_output_is_refused(self):
        for arguments in (["machine", self.good], ["machine", "--json", self.good], ["--help"], ["--version"],
                          ["machine", "--help"]):
            with self.subTest(arguments=arguments), open("/dev/full", "w", encoding="utf-8") as full:
                done = self.run_dmakit(*arguments, stdout=full)
                self.assertEqual(done.returncode, 2)
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_help_and_version(self):
        for arguments, word in ((["--help"], "machine"), (["--version"], "dmakit "), (["machine", "--help"], "--draw"),
                                (["machine", "--version"], "dmakit ")):
            with self.subTest(arguments=arguments):
                done = self.run_dmakit(*arguments)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertIn(word, done.stdout)

    def test_text_tells_everything(self):
        text = self.machine(self.good)
        for word in REGIONS + ['Test "board"', "dmakit,test, dmakit,any", "1 GiB", "500 GiB", "0x0100000000-0x7dffffffff",
                               "(default, dynamic)", "nic@1000", "gpu@2000", "behind the IOMMU /iommu@9000",
                               "DMA 0x00c0000000-0x00ffffffff", "Not coherent", "Coherent"]:
            self.assertIn(word, text)
        self.assertNotIn("off@3000", text)
        self.assertNotIn("FAILED", text)
        self.assertLessEqual(max(map(len, text.splitlines())), 100)

    def test_failed_region_is_found_and_explained(self):
        text = self.machine(self.failed, expect=1)
        self.assertIn("1 FAILED", text)
        document = json.loads(self.machine("--json", self.failed, expect=1))
        failed = [region for region in document["reserved"] if region["status"] == "failed"]
        self.assertEqual([region["node"] for region in failed], ["/reserved-memory/huge"])
        self.assertIn(failed[0]["reason"], text)

    def test_json_is_json(self):
        document = json.loads(self.machine("--json", self.good))
        self.assertEqual(document["model"], 'Test "board"')
        self.assertEqual([region["node"] for region in document["reserved"]], REGIONS)
        self.assertEqual(document["memory"][1], {"base": "0x100000000", "size": "0x7d00000000"})

    def test_memory_replaces_the_boards(self):
        document = json.loads(self.machine("--json", "--memory", "1G@0x0,3G@0x40000000", self.good))
        self.assertEqual([part["size"] for part in document["memory"]], ["0x40000000", "0xc0000000"])

    def test_drawings(self):
        for board, expect in ((self.good, 0), (self.failed, 1)):
            for name, magic in (("map.svg", b"<?xml"), ("map.PNG", b"\x89PNG")):
                path = self.path(name)
                self.machine("--draw", path, board, expect=expect)
                with open(path, "rb") as file:
                    content = file.read()
                self.assertTrue(content.startswith(magic))
                self.assertGreater(len(content), 5000)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
