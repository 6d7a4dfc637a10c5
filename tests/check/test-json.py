#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reads what report-json writes: every line is JSON with the members that are promised, and says what was meant."""
import json
import subprocess
import sys

HARD = ['quote " backslash \\ slash /', 'line\nfeed\ttab\r\x01\x1f\x7f', 'grüß € 😀',
        'bad \ufffd \ufffd( \ufffd\ufffd \ufffd\ufffd \ufffd\ufffd\ufffd \ufffd\ufffd\ufffd\ufffd \ufffd\ufffd\ufffd end \ufffd', '']


def check_stack(stack, functions):
    assert [frame['function'] for frame in stack][:len(functions)] == functions, stack
    for frame in stack:
        assert list(frame) == ['function', 'file', 'line', 'module', 'address'], frame
        assert isinstance(frame['line'], int) and int(frame['address'], 16) > 0, frame
    assert stack[0]['file'].endswith('tests/check/report-json.c') and stack[0]['line'] > 0, stack[0]


def check_made(report, class_name):
    assert list(report) == ['class', 'severity', 'device', 'what', 'advice', 'bytes', 'mapping', 'access', 'count', 'picture']
    assert report['picture'] is None
    assert report['class'] == class_name and report['device'] == '/fake/1' and report['count'] == 1, report
    assert list(report['bytes']) == ['cpu', 'dma', 'offset', 'length']
    assert report['bytes'] == {'cpu': '0x0', 'dma': '0xfedcba9876543210', 'offset': 0, 'length': 1 << 40}, report
    assert list(report['mapping']) == ['kind', 'dma', 'size', 'direction', 'stack']
    assert report['mapping']['kind'] == 'single' and report['mapping']['direction'] == 'from-device'
    assert report['mapping']['dma'] == '0xfedcba9876543210' and report['mapping']['size'] == 1 << 40
    assert list(report['access']) == ['kind', 'name', 'stack']
    assert report['access']['kind'] == 'call' and report['access']['name'] == 'dma_unmap_single'
    check_stack(report['mapping']['stack'], ['print_made', 'main'])
    check_stack(report['access']['stack'], ['print_made', 'main'])
    assert report['mapping']['stack'][0]['line'] < report['access']['stack'][0]['line']


def main():
    output = subprocess.run([sys.argv[1]], check=True, stdout=subprocess.PIPE, timeout=60).stdout
    lines = output.decode('utf-8').splitlines()
    reports = [json.loads(line) for line in lines]
    assert len(reports) == 3 + len(HARD), lines
    check_made(reports[0], 'free-wrong-direction')
    check_made(reports[1], 'error-unchecked')
    assert reports[0]['severity'] == 'error' and reports[1]['severity'] == 'warning'
    undone = reports.pop()
    assert list(undone)[7:10] == ['access', 'undone', 'count'], undone
    assert undone['undone'] == {'kind': 'unmapped', 'stack': [
        {'function': 'end', 'file': 'x.c', 'line': 2, 'module': 'm', 'address': '0x2'}]}, undone
    for report, text in zip(reports[2:], HARD):
        assert report['what'] == text and report['device'] == text, (report['what'], text)
        assert report['picture'] == (text or None), report['picture']
        assert report['mapping'] is None and report['count'] == 7
        assert report['bytes'] == {'cpu': '0x10', 'dma': '0xffffffffffffffff', 'offset': 5, 'length': 6}


main()
