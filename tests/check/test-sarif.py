#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""SARIF logs: they are valid, say what was reported, and stay whole while several processes add to them."""
import fcntl
import json
import os
import subprocess
import sys
import tempfile
import unittest

import sarif

PROGRAM = sys.argv[1]


class Sarif(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "log.sarif")

    def tearDown(self):
        self.folder.cleanup()

    def read(self):
        with open(self.path, encoding="utf-8") as file:
            return sarif.read(file.read())

    def test_the_reader_refuses(self):
        good = {"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "x", "rules": [{"id": "a"}]}}, "results": []}]}
        sarif.read(json.dumps(good))
        result = {"ruleId": "a", "ruleIndex": 0, "message": {"text": "m"}}
        for change in ({"version": "2.0.0"}, {"runs": []}, {"more": 1}, {"runs": [{}]},
                       {"runs": [{"tool": {"driver": {}}, "results": []}]}):
            with self.subTest(change=change), self.assertRaises(sarif.Bad):
                sarif.read(json.dumps({**good, **change}))
        for change in ({"message": "m"}, {"level": "fatal"}, {"ruleIndex": 1}, {"ruleIndex": -1}, {"ruleId": "b"}, {"x": 1},
                       {"occurrenceCount": 0}, {"partialFingerprints": {"a": 1}},
                       {"locations": [{"physicalLocation": {"artifactLocation": {"uri": "a b"}}}]},
                       {"locations": [{"physicalLocation": {"artifactLocation": {"uri": "a"}, "region": {"startLine": 0}}}]}):
            run = {**good["runs"][0], "results": [{**result, **change}]}
            with self.subTest(change=change), self.assertRaises(sarif.Bad):
                sarif.read(json.dumps({**good, "runs": [run]}))

    def test_what_is_said(self):
        subprocess.run([PROGRAM, self.path], check=True, timeout=60)
        run = self.read()["runs"][0]
        rules = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
        self.assertGreater(len(rules), 40)
        for name, rule in rules.items():
            self.assertTrue(rule["helpUri"].endswith(f"/bugs/{name}.md"), rule)
            self.assertTrue(rule["help"]["text"] and rule["shortDescription"]["text"])
        results = run["results"]
        self.assertEqual([result["ruleId"] for result in results],
                         ["free-wrong-direction", "error-unchecked", *["maps-stack"] * 6, "not-in-the-table", "device-access-after-unmap"])
        self.check_made(*results[:2])
        self.check_undone(results[9])
        self.check_hard(results)

    def check_made(self, wrong, unchecked):
        self.assertEqual((wrong["level"], unchecked["level"]), ("error", "warning"))
        self.assertIn(". Advice: ", wrong["message"]["text"])
        self.assertEqual(wrong["properties"]["device"], "/fake/1")
        self.assertEqual(wrong["properties"]["bytes"]["dma"], "0xfedcba9876543210")
        self.assertEqual(wrong["occurrenceCount"], 1)
        self.assertNotIn("suppressions", wrong)
        here, related = wrong["locations"][0], wrong["relatedLocations"][0]
        for location in (here, related):
            place = location["physicalLocation"]
            self.assertTrue(place["artifactLocation"]["uri"].endswith("tests/check/report-json.c"))
            self.assertEqual(location["logicalLocations"][0]["name"], "print_made")
        self.assertIn("dma_unmap_single() is called here", here["message"]["text"])
        self.assertIn("the mapping is made here: single, 1099511627776 bytes", related["message"]["text"])
        # What was never asked about lacks something where it was made.
        self.assertEqual(unchecked["locations"][0]["physicalLocation"]["region"], related["physicalLocation"]["region"])
        self.assertLess(related["physicalLocation"]["region"]["startLine"], here["physicalLocation"]["region"]["startLine"])
        flow = wrong["codeFlows"][0]["threadFlows"][0]["locations"]
        self.assertEqual([step["location"] for step in flow], [related, here])
        self.assertEqual([[frame["location"]["logicalLocations"][0]["name"] for frame in stack["frames"]]
                          for stack in wrong["stacks"]], [["print_made", "main"]] * 2)
        self.assertNotEqual(wrong["partialFingerprints"], unchecked["partialFingerprints"])

    def check_undone(self, result):
        def names(locations):
            return [location["logicalLocations"][0]["name"] for location in locations]

        self.assertEqual(names(result["locations"]), ["use"])
        self.assertEqual(names(result["relatedLocations"]), ["make", "end"])
        self.assertEqual(result["relatedLocations"][1]["message"]["text"], "it is unmapped here")
        flow = result["codeFlows"][0]["threadFlows"][0]["locations"]
        self.assertEqual(names(step["location"] for step in flow), ["make", "end", "use"])
        self.assertEqual([names(frame["location"] for frame in stack["frames"]) for stack in result["stacks"]],
                         [["use"], ["make"], ["end"]])

    def check_hard(self, results):
        self.assertEqual(results[2]["message"]["text"], 'quote " backslash \\ slash /. Advice: x.')
        self.assertEqual(results[5]["message"]["text"].count("\ufffd"), 17)
        self.assertEqual(results[2]["locations"], [])
        self.assertEqual(results[2]["occurrenceCount"], 7)
        named = results[7]
        self.assertEqual(named["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "file:///a%20b/%C3%BC%25%3F%23.c")
        self.assertEqual(named["locations"][0]["logicalLocations"][0]["name"], "f\ufffd")
        self.assertEqual(named["suppressions"], [{"kind": "external", "justification": "maps-stack:f"}])
        self.assertNotIn("ruleIndex", results[8])
        self.assertEqual(results[8]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "./c:d.c")

    def test_fingerprints_stay(self):
        for _ in range(2):
            subprocess.run([PROGRAM, self.path], check=True, timeout=60)
        results = self.read()["runs"][0]["results"]
        self.assertEqual(len(results), 20)
        self.assertEqual([result["partialFingerprints"] for result in results[:10]],
                         [result["partialFingerprints"] for result in results[10:]])

    def test_processes_at_once(self):
        started = [subprocess.Popen([PROGRAM, self.path]) for _ in range(8)]
        while any(process.poll() is None for process in started):
            if os.path.exists(self.path) and os.path.getsize(self.path):
                # Between two writes it is a log: whoever writes has the lock.
                with open(self.path, encoding="utf-8") as file:
                    fcntl.flock(file, fcntl.LOCK_SH)
                    whole = file.read()
                self.assertTrue(whole.endswith("\n}\n"))
        self.assertEqual([process.returncode for process in started], [0] * 8)
        self.assertEqual(len(self.read()["runs"][0]["results"]), 8 * 10)

    def test_another_file_is_left_alone(self):
        for content in ("text\n", "{}", "x" * 1000):
            with open(self.path, "w", encoding="utf-8") as file:
                file.write(content)
            self.assertEqual(subprocess.run([PROGRAM, self.path], check=False, timeout=60).returncode, 1)
            with open(self.path, encoding="utf-8") as file:
                self.assertEqual(file.read(), content)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
