#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The command `dmakit check` as its users meet it, with a script in the place of the program under test."""
import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from xml.etree import ElementTree

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../check"))
import sarif  # noqa: E402 the path has to be set first

DMAKIT = sys.argv[1]
PROGRAM = os.path.abspath(sys.argv[2])
BOARD = "/dts-v1/; / { #address-cells = <1>; #size-cells = <1>;" \
        " memory@0 { device_type = \"memory\"; reg = <0x0 0x40000000>; }; };\n"


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def still_alive(pids):
    """Those of `pids` that live on; a killed process takes a moment to go."""
    deadline = time.monotonic() + 10
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return [pid for pid in pids if is_alive(pid)]


class Check(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.temporary = self.path("tmp")
        os.mkdir(self.temporary)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("DMAKIT_")}
        self.environment["TMPDIR"] = self.temporary

    def tearDown(self):
        self.assertEqual(os.listdir(self.temporary), [], "temporary files are left")
        self.folder.cleanup()

    def path(self, name, content=None):
        path = os.path.join(self.folder.name, name)
        if content is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(content)
        return path

    def check(self, *arguments, program=(), **environment):
        command = [DMAKIT, "check", *arguments]
        if program:
            command += ["--", PROGRAM, *program]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False,
                              env={**self.environment, **environment})

    def check_json(self, *arguments, program, code, **environment):
        done = self.check("--format", "json", *arguments, program=program, **environment)
        self.assertEqual((done.returncode, done.stderr), (code, ""), done.stdout)
        return json.loads(done.stdout)

    def assert_refused(self, done, pattern):
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertRegex(done.stderr, r"\Admakit check: [^\n]*" + pattern + r"[^\n]*\n\Z")


class Statuses(Check):
    # how the program behaves: status, exit, signal, classes of reports, exit code of check
    CASES = {
        "right": ("ok", 0, None, [], 0),
        "silent": ("ok", 0, None, [], 0),
        "report": ("reports", 0, None, ["free-wrong-size"], 1),
        "report-and-exit": ("reports", 3, None, ["free-wrong-size"], 1),
        "two-bugs": ("reports", 0, None, ["sync-not-mapped", "free-wrong-size", "sync-not-mapped"], 1),
        "exit 3": ("failed", 3, None, [], 1),
        "crash": ("crashed", None, signal.SIGSEGV, [], 1),
        "report-and-crash": ("crashed", None, signal.SIGABRT, ["free-wrong-size"], 1),
        "garbage": ("failed", 0, None, [], 1),
        "garbage-and-report": ("reports", 0, None, ["free-wrong-size"], 1),
        "minimal": ("reports", 0, None, ["odd-one"], 1),
        "input": ("ok", 0, None, [], 0),
    }
    UNREADABLE = {"garbage": 10, "garbage-and-report": 1, "report-and-crash": 1}

    def test_each(self):
        for program, (status, code, number, classes, result) in self.CASES.items():
            with self.subTest(program=program):
                told = self.check_json(program=program.split(), code=result)
                self.assertEqual(told["program"], [PROGRAM, *program.split()])
                self.assertEqual(len(told["runs"]), 1)
                run = told["runs"][0]
                self.assertEqual((run["board"], run["seed"]), (None, 0))
                self.assertEqual((run["status"], run["exit"], run["signal"]), (status, code, number))
                self.assertEqual([report["class"] for report in run["reports"]], classes)
                self.assertEqual(run["unreadable"], self.UNREADABLE.get(program, 0))
                self.assertEqual(told["summary"][status], 1)
                self.assertEqual(told["summary"]["runs"], 1)
                self.assertEqual(told["summary"]["bugs"], len(set(classes)))
                self.assertEqual([bug["class"] for bug in told["bugs"]], list(dict.fromkeys(classes)))

    def test_hang(self):
        started = time.monotonic()
        told = self.check_json("--timeout", "0.5", program=["hang"], code=1)
        self.assertLess(time.monotonic() - started, 20)
        run = told["runs"][0]
        self.assertEqual((run["status"], run["exit"], run["signal"]), ("timeout", None, signal.SIGKILL))
        self.assertGreaterEqual(run["seconds"], 0.5)
        self.assertEqual(run["output"], "about to hang\n")

    def test_a_run_does_not_end_the_others(self):
        told = self.check_json("--seeds", "0..5", program=["odd-seeds"], code=1)
        self.assertEqual([run["status"] for run in told["runs"]], ["ok", "reports"] * 3)
        self.assertEqual(told["bugs"][0]["runs"], [1, 3, 5])

    def test_report_is_handed_on_whole(self):
        report = self.check_json(program=["report"], code=1)["runs"][0]["reports"][0]
        self.assertEqual(report["bytes"], {"cpu": "0x1000", "dma": "0x1000", "offset": 60, "length": 4})
        self.assertEqual(report["mapping"]["stack"][0]["line"], 7)
        self.assertEqual(report["access"]["stack"][0]["function"], "nic_done")

    def test_output_is_bounded_and_clean(self):
        flood = self.check_json(program=["flood"], code=1)["runs"][0]["output"]
        self.assertTrue(flood.endswith("line 2999 of a program that talks a lot\n"))
        self.assertEqual(len(flood), 8192)
        self.assertEqual(self.check_json(program=["bytes"], code=1)["runs"][0]["output"], "a b\ufffdc\x1bd\n")


class Environment(Check):
    def run_options(self, *arguments, **environment):
        told = self.check_json(*arguments, program=["environment"], code=1, **environment)
        board, options = re.fullmatch(r"board=(\S+) options=(\S+)\n", told["runs"][0]["output"]).groups()
        options = re.sub(r":report_format=json:report_path=" + re.escape(self.temporary) + r"/dmakit-check-\w+/\d+\Z",
                         ":OURS", options)
        return board, options

    def test_table(self):
        board = self.path("a.dts", BOARD)
        for arguments, environment, expected in (
                ([], {}, ("unset", "seed=0:OURS")),
                ([], {"DMAKIT_BOARD": "/nowhere"}, ("unset", "seed=0:OURS")),
                (["--board", board], {}, (board, "seed=0:OURS")),
                (["--board", board], {"DMAKIT_BOARD": "/nowhere"}, (board, "seed=0:OURS")),
                (["--seeds", "7"], {}, ("unset", "seed=7:OURS")),
                (["--depth", "0"], {}, ("unset", "seed=0:depth=0:OURS")),
                (["--depth", "3", "--seeds", "2..2"], {"DMAKIT_OPTIONS": "abort_on_error=1"},
                 ("unset", "abort_on_error=1:seed=2:depth=3:OURS")),
                ([], {"DMAKIT_OPTIONS": "seed=5:log=3"}, ("unset", "seed=5:log=3:seed=5:OURS")),
                ([], {"DMAKIT_OPTIONS": "fail_nth=1"}, ("unset", "fail_nth=1:seed=0:OURS")),
                (["--seeds", "1"], {"DMAKIT_OPTIONS": "seed=5"}, ("unset", "seed=5:seed=1:OURS"))):
            with self.subTest(arguments=arguments, environment=environment):
                self.assertEqual(self.run_options(*arguments, **environment), expected)

    def test_suppressions_go_to_every_run(self):
        path = self.path("s.txt", "free-wrong-*:nic\n")
        options = self.run_options("--suppressions", path, "--depth", "1")[1]
        self.assertTrue(re.fullmatch(r"seed=0:depth=1:suppressions=" + re.escape(path) + r":report_format=json:"
                                     r"print_suppressed=1:report_path=\S+", options), options)
        # The user's own are asked about as well.
        options = self.run_options(DMAKIT_OPTIONS="suppressions=" + path)[1]
        self.assertIn(":report_format=json:print_suppressed=1:report_path=", options)

    def test_colon_in_temporary_folder(self):
        with_colon = self.path("a:b")
        os.mkdir(with_colon)
        self.check_json(program=["report"], code=1, TMPDIR=with_colon)
        self.assertEqual(os.listdir(with_colon), [])


class Boards(Check):
    def test_folder_and_refused(self):
        folder = self.path("boards")
        os.mkdir(folder)
        for name in ("b.dts", "a.dts"):
            self.path("boards/" + name, BOARD)
        self.path("boards/c.dtb", "no tree at all")
        self.path("boards/notes.txt", "not a board")
        self.path("boards/.dts", "hidden")
        told = self.check_json("--boards", folder, "--seeds", "1..2", program=["right"], code=1)
        self.assertEqual([(os.path.basename(run["board"]), run["seed"], run["status"]) for run in told["runs"]],
                         [("a.dts", 1, "ok"), ("a.dts", 2, "ok"), ("b.dts", 1, "ok"), ("b.dts", 2, "ok"),
                          ("c.dtb", None, "refused")])
        self.assertTrue(told["runs"][4]["reason"])
        self.assertIsNone(told["runs"][0]["reason"])
        self.assertEqual((told["summary"]["boards"], told["summary"]["refused"]), (3, 1))
        text = self.check("--boards", folder, program=["right"])
        self.assertRegex(text.stdout, r"\nc\.dtb +1 +0 +0 +1  refused: \S")
        self.assertEqual((text.returncode, text.stderr), (1, ""))

    def test_all_refused(self):
        done = self.check("--board", self.path("c.dtb", "no tree at all"), program=["right"])
        self.assertEqual(done.returncode, 2)
        self.assertIn("refused: ", done.stdout)
        self.assertRegex(done.stderr, r"\Admakit check: nothing was run: [^\n]*\n\Z")

    def test_same_name_twice(self):
        for name in ("x", "y"):
            os.mkdir(self.path(name))
        boards = [self.path("x/a.dts", BOARD), self.path("y/a.dts", BOARD)]
        done = self.check("--board", boards[0], "--board", boards[1], program=["on-board", "/y/"])
        self.assertRegex(done.stdout, r"(?m)^\S*x/a\.dts +1 +1 +0 +0$")
        self.assertRegex(done.stdout, r"(?m)^\S*y/a\.dts +1 +0 +1 +0  free-wrong-size nic\.c:42$")


class Text(Check):
    def test_right(self):
        done = self.check("--seeds", "0..3", program=["right"])
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout, "board                   runs  right  reports  failed  first finding\n"
                                      "built-in hostile board     4      4        0       0\n")

    def test_report(self):
        board = self.path("a.dts", BOARD)
        done = self.check("--board", board, "--seeds", "0..7", program=["odd-seeds"])
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertIn("a.dts     8      4        4       0  free-wrong-size nic.c:42\n", done.stdout)
        self.assertIn("\nerror: free-wrong-size at src/nic.c:42\n  what:      what happened\n", done.stdout)
        self.assertIn("  seen on:   a.dts, seeds 1, 3, 5, 7\n", done.stdout)
        self.assertIn(f"  reproduce: DMAKIT_OPTIONS=seed=1 {PROGRAM} odd-seeds\n"
                      "  needs:     seed=1; depth 1 is enough\n", done.stdout)
        done = self.check("--no-bisect", "--board", board, "--seeds", "0..7", program=["odd-seeds"])
        self.assertIn(f"  reproduce: DMAKIT_BOARD={board} DMAKIT_OPTIONS=seed=1 {PROGRAM} odd-seeds\n", done.stdout)
        self.assertNotIn("needs:", done.stdout)
        self.assertEqual(done.stdout.count("free-wrong-size at"), 1)

    def test_many_boards_are_cut_short(self):
        boards = []
        for number in range(22):
            boards += ["--board", self.path(f"b{number}.dts", BOARD)]
        done = self.check(*boards, program=["report"])
        self.assertIn("  b19.dts, seed 0\n             and 2 more boards\n", done.stdout)
        self.assertEqual(done.stdout.count(", seed 0\n"), 20)

    def test_leak_is_placed_where_the_mapping_was_made(self):
        self.assertIn("leak-at-remove at src/nic.c:7\n", self.check(program=["leak"]).stdout)

    def test_stacks_end_at_main(self):
        done = self.check(program=["deep"])
        self.assertIn("#0 probe a.c:3\n             #1 main a.c:9\n", done.stdout)
        self.assertNotIn("_start", done.stdout)

    def test_where_a_mapping_ended_is_said_after_where_it_was_made(self):
        self.assertIn("  mapping:   single, 128 bytes at 0x1000, to-device, made at\n             #0 nic_send src/nic.c:7\n"
                      "  unmapped at\n             #0 nic_stop src/nic.c:31\n             #1 main src/main.c:9\n",
                      self.check(program=["undone"]).stdout)
        self.assertNotIn("unmapped at", self.check(program=["report"]).stdout)

    def test_seed_ranges(self):
        self.assertIn("seeds 0..4\n", self.check("--seeds", "0..4", program=["report"]).stdout)
        self.assertIn("seeds 3, 4\n", self.check("--seeds", "3..4", program=["report"]).stdout)
        self.assertIn("seed 9\n", self.check("--seeds", "9", program=["report"]).stdout)

    def test_failures(self):
        crash = self.check("--seeds", "0..2", program=["crash"]).stdout
        self.assertRegex(crash, r"hostile board +3 +0 +0 +3  crashed: SIGSEGV\n")
        self.assertEqual(crash.count("\ncrashed: SIGSEGV\n"), 1)
        self.assertIn("    about to crash\n", crash)
        hang = self.check("--timeout", "0.25", program=["hang"]).stdout
        self.assertRegex(hang, r"hostile board +1 +0 +0 +1  timed out after 0\.25 s\n")
        self.assertIn("failed: exit code 7\n", self.check(program=["exit", "7"]).stdout)
        garbage = self.check(program=["garbage"]).stdout
        self.assertIn("failed: unreadable report lines\n", garbage)
        self.assertIn("note: 10 lines of report files could not be read\n", garbage)

    def test_what_the_wrong_boards_share_is_said(self):
        buses = {"plain": "dma-coherent;", "stale": "dma-noncoherent;",
                 "moved": "dma-coherent; bus { #address-cells = <1>; #size-cells = <1>; ranges;"
                          " dma-ranges = <0x80000000 0 0x40000000>; nic { compatible = \"a\"; }; };"
                          " aliases { nic = \"/bus/nic\"; };",
                 "both": "dma-noncoherent; bus { #address-cells = <1>; #size-cells = <1>; ranges;"
                         " dma-ranges = <0x80000000 0 0x40000000>; nic { compatible = \"a\"; }; };"
                         " aliases { nic = \"/bus/nic\"; };"}
        boards = []
        for name, rest in buses.items():
            source = "/dts-v1/; / { #address-cells = <1>; #size-cells = <1>; %s" \
                     " memory@0 { device_type = \"memory\"; reg = <0x0 0x40000000>; }; };\n"
            boards += ["--board", self.path(name + ".dts", source % rest)]
        for wrong, said in (("stale both", "snoop the CPU's caches"), ("moved both", "differ from physical"), ("stale", None),
                            ("plain stale moved both", None), ("none", None), ("plain stale both", None)):
            with self.subTest(wrong=wrong):
                done = self.check(*boards, program=("fail-on", *wrong.split()))
                if said:
                    self.assertRegex(done.stdout, "\nnote: wrong exactly where [^\n]*" + said)
                else:
                    self.assertNotIn("wrong exactly", done.stdout)

    def test_no_checker_is_said(self):
        self.assertIn("note: no run started a checker", self.check(program=["silent"]).stdout)
        self.assertNotIn("note:", self.check(program=["right"]).stdout)

    def test_terminal_stays_clean_and_narrow(self):
        folder = self.path("boards")
        os.mkdir(folder)
        self.path("boards/" + "a-board-with-a-very-long-name-" * 3 + ".dts", BOARD)
        for program in (["hostile"], ["bytes"], ["flood"], ["two-bugs"]):
            done = self.check("--boards", folder, program=program)
            self.assertNotRegex(done.stdout, r"[\x00-\x09\x0b-\x1f]")
            table = done.stdout.split("\n\n")[0]
            self.assertLessEqual(max(map(len, table.split("\n"))), 100)
        self.assertLess(self.check(program=["flood"]).stdout.count("talks a lot"), 20)

    def test_reproduce_is_a_command_line(self):
        done = self.check("--seeds", "3", "--no-bisect", program=["report", "it's a \"word\"", "", "$HOME"], DMAKIT_BOARD="/x",
                          DMAKIT_OPTIONS="a=b c")
        line = re.search(r"reproduce: (.*)\n", done.stdout).group(1)
        self.assertEqual(shlex.split(line), ["env", "-u", "DMAKIT_BOARD", "DMAKIT_OPTIONS=a=b c:seed=3", PROGRAM,
                                             "report", "it's a \"word\"", "", "$HOME"])

    def test_output_file(self):
        path = self.path("out.json")
        done = self.check("--format", "json", "-o", path, program=["report"])
        self.assertEqual((done.returncode, done.stdout, done.stderr), (1, "", ""))
        with open(path, encoding="utf-8") as file:
            self.assertEqual(json.load(file)["summary"]["reports"], 1)


class Bisect(Check):
    """The settings that are left are those that the program asks for."""
    def bisect(self, *arguments, program, kind="bugs", **environment):
        told = self.check_json(*arguments, program=program, code=1, **environment)
        self.assertEqual(len(told[kind]), 1, told[kind])
        found = told[kind][0]
        return found["needs"], shlex.split(found["reproduce"])

    def test_options(self):
        board = self.path("a.dts", BOARD)
        given = ("--board", board, "--seeds", "4..6", "--depth", "3")
        mine = "arguments=cma=64M:log=0:seed=9:memory=1G@0x0:log=1"
        for program, words in ((["report"], []), (["with", "seed=5"], ["seed=5"]), (["with", "log=1"], ["log=1"]),
                               (["with", "memory=1G@0x0", "arguments=cma=64M", "seed=6"],
                                ["arguments=cma=64M", "memory=1G@0x0", "seed=6"]),
                               (["with", "depth=3"], ["depth=3"])):
            with self.subTest(program=program):
                needs, line = self.bisect(*given, program=program, DMAKIT_OPTIONS=mine)
                self.assertEqual(needs, {"steady": True, "board": False, "options": words,
                                         "depth": 3 if "depth=3" in words else 1})
                self.assertEqual(line, ["DMAKIT_OPTIONS=" + ":".join(words), PROGRAM, *program])

    def test_board(self):
        board = self.path("a.dts", BOARD)
        needs, line = self.bisect("--board", board, program=["on-board", "a.dts"])
        self.assertEqual(needs, {"steady": True, "board": True, "options": [], "depth": 1})
        self.assertEqual(line, ["DMAKIT_BOARD=" + board, PROGRAM, "on-board", "a.dts"])
        needs, line = self.bisect("--board", board, program=["report"], DMAKIT_BOARD="/x")
        self.assertEqual(line, ["env", "-u", "DMAKIT_BOARD", PROGRAM, "report"])

    def test_depth(self):
        for depth in (1, 2):
            self.assertEqual(self.bisect(program=["at-depth", str(depth)])[0]["depth"], depth)
        needs, line = self.bisect("--depth", "3", program=["at-depth", "3"])
        self.assertEqual((needs["depth"], needs["options"]), (3, ["depth=3"]))
        needs, line = self.bisect("--depth", "3", program=["at-depth", "2"])
        self.assertEqual((needs["depth"], line), (2, [PROGRAM, "at-depth", "2"]))

    def test_failures(self):
        needs, line = self.bisect("--seeds", "7..8", program=["crash"], kind="failures")
        self.assertEqual((needs, line), ({"steady": True, "board": False, "options": [], "depth": 0}, [PROGRAM, "crash"]))
        needs, line = self.bisect("--seeds", "7..8", program=["crash-with", "seed=8"], kind="failures")
        self.assertEqual((needs["options"], line), (["seed=8"], ["DMAKIT_OPTIONS=seed=8", PROGRAM, "crash-with", "seed=8"]))
        told = self.check_json("--seeds", "0..1", program=["crash"], code=1)["failures"]
        self.assertEqual((told[0]["status"], told[0]["what"], told[0]["runs"]), ("crashed", "crashed: SIGSEGV", [0, 1]))
        # One that hangs is not made again.
        needs, line = self.bisect("--timeout", "0.5", program=["hang"], kind="failures")
        self.assertEqual((needs, line), (None, ["DMAKIT_OPTIONS=seed=0", PROGRAM, "hang"]))

    def test_chance(self):
        for program in ("once", "elsewhere"):
            needs, line = self.bisect(program=[program, self.path(program + ".mark")])
            self.assertEqual((needs, line[0]), ({"steady": False}, "DMAKIT_OPTIONS=seed=0"))
        done = self.check(program=["once", self.path("text")])
        self.assertIn("needs:     chance or timing", done.stdout)

    def test_suppressions_stay(self):
        path = self.path("s.txt", "sync-*\n")
        needs, line = self.bisect("--suppressions", path, program=["report"])
        self.assertEqual(line[0], "DMAKIT_OPTIONS=suppressions=" + path)

    def test_it_takes_no_longer_than_the_runs(self):
        started = time.monotonic()
        # Made again it takes a hundred seconds.
        done = self.check("--seeds", "1", program=["slow", self.path("mark")])
        self.assertLess(time.monotonic() - started, 30)
        self.assertIn(f"  reproduce: DMAKIT_OPTIONS=seed=1 {PROGRAM} slow", done.stdout)
        self.assertIn("\nnote: finding the smallest settings took too long", done.stdout)

    def test_text(self):
        self.assertIn("  needs:     no board and no seed: what is built in shows it; depth 1 is enough\n",
                      self.check("--seeds", "3..4", program=["report"]).stdout)
        self.assertIn("  needs:     this board; depth 1 is enough\n",
                      self.check("--board", self.path("a.dts", BOARD), program=["on-board", "a.dts"]).stdout)
        self.assertIn("; the checker may be off\n", self.check(program=["crash"]).stdout)


class Suppressions(Check):
    def setUp(self):
        super().setUp()
        self.given = ("--suppressions", self.path("s.txt", "free-wrong-*:nic\n"))

    def test_json(self):
        told = self.check_json(*self.given, "--seeds", "0..1", program=["suppressed"], code=0)
        self.assertEqual([(run["status"], run["suppressed"], run["reports"]) for run in told["runs"]], [("ok", 2, [])] * 2)
        self.assertEqual(told["bugs"], [])
        told = self.check_json(*self.given, program=["suppressed-and-not"], code=1)
        self.assertEqual((told["runs"][0]["status"], told["runs"][0]["suppressed"]), ("reports", 1))
        self.assertEqual([bug["line"] for bug in told["bugs"]], [43])

    def test_text(self):
        done = self.check(*self.given, "--seeds", "0..1", program=["suppressed"])
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("\nnote: 4 reports of 2 runs were suppressed:\n"
                      "       2 runs  free-wrong-size at src/nic.c:42 by free-wrong-*:nic\n", done.stdout)
        self.assertNotIn("error:", done.stdout)
        self.assertNotIn("suppressed", self.check(*self.given, program=["right"]).stdout)


class Matrix(Check):
    """What the picture's cells are filled with, read back from the SVG, beside what the JSON says of the runs."""
    CLASSES = [(84, 37, 0), (34, 71, 91), (94, 89, 26), (0, 45, 70), (80, 47, 65), (90, 62, 0), (0, 62, 45)]
    RIGHT, BROKEN, PAPER = (93, 95, 96), (27, 29, 32), (100, 100, 100)

    @staticmethod
    def boxes(path):
        """Filled paths: colour in per cent, and left, top, right, bottom."""
        for element in ElementTree.parse(path).getroot().iter("{http://www.w3.org/2000/svg}path"):
            look = element.get("style", "") + ";fill:" + element.get("fill", "")
            fill = re.search(r"fill:rgb\(([\d.]+)%, ?([\d.]+)%, ?([\d.]+)%\)", look)
            numbers = [float(number) for number in re.findall(r"-?[\d.]+", element.get("d"))]
            if fill and numbers:
                yield tuple(round(float(part)) for part in fill.groups()), (
                    min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2]))

    def grid(self, path, rows, columns):
        """The colours of the cells at their place: the last one painted that covers the upper left of it."""
        boxes = [box for box in self.boxes(path) if box[0] != self.PAPER]
        known = [*self.CLASSES, self.RIGHT, self.BROKEN]
        cells = [box for box in boxes if box[0] in known and box[1][2] - box[1][0] > 18]
        lefts = sorted({round(box[1][0]) for box in cells})
        # Left of the grid there is the legend.
        self.assertEqual(len(lefts), columns + 1)
        tops = sorted({round(box[1][1]) for box in cells if round(box[1][0]) in lefts[1:]})
        self.assertEqual(len(tops), rows)
        found = [[None] * columns for _ in tops]
        for colour, (left, top, _, _) in cells:
            if round(left) in lefts[1:]:
                found[tops.index(round(top))][lefts.index(round(left)) - 1] = colour
        return found

    def test_cells(self):
        for name in ("a", "b"):
            self.path(name + ".dts", BOARD)
        path = self.path("m.svg")
        told = self.check_json("--matrix", path, "--no-bisect", "--board", self.path("a.dts"), "--board", self.path("b.dts"),
                               "--seeds", "10..21", program=["mixed"], code=1)
        colours = {"ok": self.RIGHT, "failed": self.BROKEN, "crashed": self.BROKEN}
        # In the order in which runs first show them: seeds 11 and 14.
        classes = dict(zip(["free-wrong-size", "sync-not-mapped"], self.CLASSES))
        wanted = [classes[run["reports"][0]["class"]] if run["reports"] else colours[run["status"]] for run in told["runs"]]
        self.assertEqual(len(set(wanted)), 4)
        grid = self.grid(path, 2, 12)
        self.assertEqual(grid[0] + grid[1], wanted)

    def test_more_classes_than_colours(self):
        path = self.path("m.svg")
        self.check_json("--matrix", path, "--no-bisect", "--seeds", "1..9", program=["class-of-seed"], code=1)
        row = self.grid(path, 1, 9)[0]
        self.assertEqual(row, self.CLASSES + self.CLASSES[:2])

    def test_refused_board(self):
        self.path("a.dts", BOARD)
        refused, path = self.path("c.dtb", "no tree at all"), self.path("m.svg")
        self.check("--matrix", path, "--board", self.path("a.dts"), "--board", refused, "--seeds", "0..3", program=["right"])
        self.assertEqual(self.grid(path, 1, 4), [[self.RIGHT] * 4])

    def test_sizes(self):
        for seeds in ("3", "0..59", "5..700", "18446744073709551610..18446744073709551615"):
            with self.subTest(seeds=seeds):
                path = self.path("m.png")
                done = self.check("--matrix", path, "--seeds", seeds, "--no-bisect", program=["right"])
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                with open(path, "rb") as file:
                    head = file.read(24)
                self.assertEqual(head[:8], b"\x89PNG\r\n\x1a\n")
                width, height = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
                self.assertTrue(1000 < width < 4000 and 200 < height < 4000, (width, height))

    def test_it_cannot_be_written(self):
        done = self.check("--matrix", "/no/such/folder/m.svg", program=["right"])
        self.assertEqual(done.returncode, 2)
        self.assertIn("built-in hostile board", done.stdout)
        self.assertRegex(done.stderr, r"\Admakit check: cannot draw '/no/such/folder/m\.svg': No such file[^\n]*\n\Z")


class Sarif(Check):
    def read(self, *arguments, program, code):
        done = self.check("--format", "sarif", *arguments, program=program)
        self.assertEqual((done.returncode, done.stderr), (code, ""))
        return sarif.read(done.stdout)["runs"][0]

    def test_right(self):
        run = self.read(program=["right"], code=0)
        self.assertEqual(run["results"], [])
        self.assertEqual(run["invocations"][0]["arguments"], [PROGRAM, "right"])
        self.assertEqual(run["invocations"][0]["toolExecutionNotifications"], [])

    def test_bugs(self):
        board = self.path("a.dts", BOARD)
        run = self.read("--board", board, "--seeds", "0..3", program=["odd-seeds"], code=1)
        self.assertEqual(len(run["results"]), 1)
        result = run["results"][0]
        self.assertEqual((result["ruleId"], result["level"], result["occurrenceCount"]), ("free-wrong-size", "error", 2))
        self.assertEqual(result["message"]["text"], "what happened. Advice: what to do.")
        self.assertEqual(result["locations"][0]["physicalLocation"],
                         {"artifactLocation": {"uri": "src/nic.c"}, "region": {"startLine": 42}})
        self.assertEqual(result["relatedLocations"][0]["physicalLocation"]["region"], {"startLine": 7})
        self.assertEqual(result["properties"]["bytes"], {"cpu": "0x1000", "dma": "0x1000", "offset": 60, "length": 4})
        self.assertEqual(result["properties"]["runs"], [{"board": board, "seed": 1}, {"board": board, "seed": 3}])
        self.assertIn("odd-seeds", result["properties"]["reproduce"])
        self.assertEqual([len(stack["frames"]) for stack in result["stacks"]], [1, 1])
        leak = self.read(program=["leak"], code=1)["results"][0]
        self.assertEqual(leak["locations"][0]["physicalLocation"]["region"], {"startLine": 7})

    def test_odd_reports(self):
        for program, rule in (("minimal", "odd-one"), ("hostile", "odd\x1b[31m"), ("deep", "deep")):
            with self.subTest(program=program):
                result = self.read(program=[program], code=1)["results"][0]
                self.assertEqual(result["ruleId"], rule)
                self.assertNotIn("ruleIndex", result)

    def test_failures_are_notifications(self):
        refused = self.path("c.dtb", "no tree at all")
        run = self.read("--board", self.path("a.dts", BOARD), "--board", refused, program=["crash"], code=1)
        told = run["invocations"][0]["toolExecutionNotifications"]
        self.assertEqual(told[0]["message"]["text"], "a.dts, seed 0: crashed: SIGSEGV")
        self.assertRegex(told[1]["message"]["text"], r"\Ac\.dtb: refused: \S")
        self.assertEqual(told[1]["properties"], {"board": refused, "seed": None})

    def test_suppressed_ones_are_marked(self):
        run = self.read("--suppressions", self.path("s.txt", "free-wrong-*:nic\n"), program=["suppressed-and-not"], code=1)
        self.assertEqual([result.get("suppressions") for result in run["results"]],
                         [None, [{"kind": "external", "justification": "free-wrong-*:nic"}]])


class Processes(Check):
    def test_jobs(self):
        marks = self.path("marks")
        os.mkdir(marks)
        self.check_json("--jobs", "2", "--seeds", "0..1", program=["together", marks], code=0)
        os.mkdir(self.path("alone"))
        told = self.check_json("--jobs", "1", "--seeds", "0..1", program=["alone", self.path("alone")], code=0)
        self.assertEqual(told["summary"]["ok"], 2)

    def test_parallel(self):
        if len(os.sched_getaffinity(0)) < 2:
            self.skipTest("one core")
        marks = self.path("marks")
        os.mkdir(marks)
        self.check_json("--seeds", "0..1", program=["together", marks], code=0)

    def test_children_left_behind_are_killed(self):
        pids = self.path("pids")
        self.check_json("--seeds", "0..3", program=["leave-child", pids], code=0)
        with open(pids, encoding="ascii") as file:
            left = [int(line) for line in file]
        self.assertEqual(len(left), 4)
        self.assertEqual(still_alive(left), [])

    def test_interrupt(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=number):
                pids = self.path(f"pids-{number}", "")
                with subprocess.Popen([DMAKIT, "check", "--seeds", "0..9", "--", PROGRAM, "children", pids],
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                      env=self.environment) as process:
                    deadline = time.monotonic() + 30
                    while not os.path.getsize(pids) and time.monotonic() < deadline:
                        time.sleep(0.02)
                    process.send_signal(number)
                    out, err = process.communicate(timeout=30)
                self.assertEqual((process.returncode, out), (-number, ""))
                self.assertRegex(err, r"\Admakit check: interrupted after 0 of 10 runs\n\Z")
                with open(pids, encoding="ascii") as file:
                    left = [int(line) for line in file]
                self.assertTrue(left)
                self.assertEqual(still_alive(left), [])
                self.assertEqual(os.listdir(self.temporary), [])

    def test_progress_on_a_terminal_only(self):
        ours, theirs = pty.openpty()
        with subprocess.Popen([DMAKIT, "check", "--seeds", "0..3", "--", PROGRAM, "right"],
                              stdout=subprocess.PIPE, stderr=theirs, env=self.environment) as process:
            process.communicate(timeout=60)
        os.close(theirs)
        shown = b""
        while select.select([ours], [], [], 1)[0]:
            try:
                part = os.read(ours, 4096)
            except OSError:
                break
            if not part:
                break
            shown += part
        os.close(ours)
        self.assertIn(b"of 4 runs, 0 not right", shown)
        self.assertTrue(shown.endswith(b"\r\x1b[K"))


class Refusals(Check):
    def test_options(self):
        for arguments, pattern in (
                ([], "no program"),
                (["--seeds", "0..1"], "no program"),
                (["--matrix", "x.gif", "--", "true"], "cannot draw 'x.gif'; give a name that ends in .svg or .png"),
                (["--matrix", "svg", "--", "true"], "cannot draw 'svg'"),
                (["--suppressions", "/no/such/file", "--", "true"], "suppressions /no/such/file: No such file"),
                (["--suppressions", self.path("s.txt", "# one\nfree-wrong\n"), "--", "true"],
                 "s.txt:2: \"free-wrong\" names no class"),
                (["--suppressions", "a:b", "--", "true"], "cannot name a file with ':'"),
                (["--format", "xml", "--", "true"], "unknown format 'xml'; there are text, json and sarif"),
                (["--jobs", "0", "--", "true"], "bad number of jobs '0'"),
                (["--jobs", "many", "--", "true"], "bad number of jobs 'many'"),
                (["--depth", "4", "--", "true"], "bad depth '4'"),
                (["--depth", "-1", "--", "true"], "bad depth"),
                (["--depth", "", "--", "true"], "bad depth"),
                (["--seeds", "2..1", "--", "true"], "bad seeds '2..1'"),
                (["--seeds", "1..", "--", "true"], "bad seeds"),
                (["--seeds", "..1", "--", "true"], "bad seeds"),
                (["--seeds", "-1", "--", "true"], "bad seeds"),
                (["--seeds", "1..2..3", "--", "true"], "bad seeds"),
                (["--seeds", "0..18446744073709551616", "--", "true"], "bad seeds"),
                (["--seeds", "0..18446744073709551615", "--", "true"], "more than a million runs"),
                (["--seeds", "0..1000000", "--", "true"], "more than a million runs"),
                (["--timeout", "0", "--", "true"], "bad time-out '0'"),
                (["--timeout", "nan", "--", "true"], "bad time-out"),
                (["--timeout", "1x", "--", "true"], "bad time-out"),
                (["--timeout"], "needs a value"),
                (["--board", "/no/such.dts", "--", "true"], "no board '/no/such.dts'"),
                (["--boards", "/no/such", "--", "true"], "cannot read folder '/no/such'"),
                (["--boards", self.temporary, "--", "true"], "no board in folder"),
                (["-o", "/no/such/file", "--", "true"], "cannot write '/no/such/file'"),
                (["--", "/no/such/program"], "cannot start '/no/such/program': No such file"),
                (["--", "no-such-program-in-the-path"], "cannot start 'no-such-program-in-the-path'"),
                (["--", self.temporary], "cannot start .*Permission denied"),
                (["--", self.path("notes.txt", "text")], "cannot start .*Permission denied")):
            with self.subTest(arguments=arguments):
                self.assert_refused(self.check(*arguments), pattern)

    def test_full_disk(self):
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([DMAKIT, "check", "--", PROGRAM, "right"], stdout=full, stderr=subprocess.PIPE,
                                  text=True, check=False, env=self.environment)
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, "cannot write standard output")
        done = self.check("-o", "/dev/full", program=["right"])
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, "cannot write /dev/full")

    def test_help_version_classes(self):
        self.assertIn("Usage: dmakit check", self.check("--help").stdout)
        self.assertRegex(self.check("--version").stdout, r"\Admakit \S+\n\Z")
        done = self.check("--list-classes")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"(?m)^leak-at-remove +\S")

    def test_arguments_after_the_program_are_its_own(self):
        done = subprocess.run([DMAKIT, "check", PROGRAM, "exit", "5", "--help"], capture_output=True, text=True,
                              check=False, env=self.environment)
        self.assertEqual(done.returncode, 1)
        self.assertIn("exit code 5", done.stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
