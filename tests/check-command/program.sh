#!/bin/sh
# SPDX-License-Identifier: MIT
# Stands in for a driver's test program: $1 says how it behaves. Where a program would report, it writes to the
# report_path that it finds in DMAKIT_OPTIONS.

path=${DMAKIT_OPTIONS##*report_path=}
case :$DMAKIT_OPTIONS in
*:seed=*) seed=${DMAKIT_OPTIONS##*seed=}; seed=${seed%%:*} ;;
*) seed=0 ;;
esac

# report CLASS LINE [SUPPRESSION]: one report as the library writes it.
report() {
    printf '%s' "{\"class\": \"$1\", \"severity\": \"error\", \"device\": \"/soc/nic\", \"what\": \"what happened\"," \
        " \"advice\": \"what to do\", \"bytes\": {\"cpu\": \"0x1000\", \"dma\": \"0x1000\", \"offset\": 60, \"length\": 4}," \
        " \"mapping\": {\"kind\": \"single\", \"dma\": \"0x1000\", \"size\": 128, \"direction\": \"to-device\", \"stack\":" \
        " [{\"function\": \"nic_send\", \"file\": \"src/nic.c\", \"line\": 7, \"module\": \"./nic\", \"address\": \"0x$$\"}]}," \
        " \"access\": {\"kind\": \"call\", \"name\": \"dma_unmap_single\", \"stack\": [{\"function\": \"nic_done\"," \
        " \"file\": \"src/nic.c\", \"line\": $2, \"module\": \"./nic\", \"address\": \"0x$$\"}]}${3:+, \"suppressed\": \"$3\"}}" >> "$path"
    echo >> "$path"
}

# has WORD: whether DMAKIT_OPTIONS has it.
has() {
    case :$DMAKIT_OPTIONS: in *":$1:"*) ;; *) return 1 ;; esac
}

case $1 in
right) : >> "$path" ;;
silent) ;;
report) report free-wrong-size 42 ;;
report-and-exit) report free-wrong-size 42; exit 3 ;;
two-bugs) report sync-not-mapped 50; report free-wrong-size 42; report sync-not-mapped 50 ;;
deep)
    printf '{"class": "deep", "access": {"stack": [{"function": "probe", "file": "a.c", "line": 3}, {"function": "main",' >> "$path"
    printf ' "file": "a.c", "line": 9}, {"function": "_start", "module": "./a"}]}}\n' >> "$path" ;;
undone)
    printf '{"class": "late", "mapping": {"kind": "single", "dma": "0x1000", "size": 128, "direction": "to-device", "stack":' >> "$path"
    printf ' [{"function": "nic_send", "file": "src/nic.c", "line": 7}]}, "undone": {"kind": "unmapped", "stack":' >> "$path"
    printf ' [{"function": "nic_stop", "file": "src/nic.c", "line": 31}, {"function": "main", "file": "src/main.c", "line": 9}]}}\n' >> "$path" ;;
odd-seeds) case $seed in *[13579]) report free-wrong-size 42 ;; *) : >> "$path" ;; esac ;;
on-board) case $DMAKIT_BOARD in *"$2"*) report free-wrong-size 42 ;; esac ;;
with) shift; for word; do has "$word" || exit 0; done; report free-wrong-size 42 ;;
crash-with) has "$2" && kill -SEGV $$ ;;
at-depth) has depth=0 || { [ "$2" -gt 1 ] && has depth=1; } || { [ "$2" -gt 2 ] && ! has depth=3; } || report free-wrong-size 42 ;;
once) [ -e "$2" ] || { : > "$2"; report free-wrong-size 42; } ;;
elsewhere) if [ -e "$2" ]; then report free-wrong-size 43; else : > "$2"; report free-wrong-size 42; fi ;;
slow) : >> "$path"; sleep 0.4; report free-wrong-size 42; [ -e "$2" ] && sleep 100; : > "$2" ;;
fail-on) shift; for board; do case $DMAKIT_BOARD in *"/$board.dts") exit 1 ;; esac; done ;;
leak) report leak-at-remove 99 ;;
suppressed) report free-wrong-size 42 "free-wrong-*:nic" ; report free-wrong-size 42 "free-wrong-*:nic" ;;
suppressed-and-not) report free-wrong-size 42 "free-wrong-*:nic"; report free-wrong-size 43 ;;
exit) echo "about to exit"; exit "$2" ;;
crash) echo "about to crash"; kill -SEGV $$ ;;
report-and-crash) report free-wrong-size 42; printf '{"class": "sync-not-map' >> "$path"; kill -ABRT $$ ;;
hang) echo "about to hang"; sleep 100 & sleep 100 ;;
leave-child) sleep 100 & echo $! >> "$2" ;;
children) sleep 100 & echo $! >> "$2"; wait ;;
garbage)
    printf 'not json\n\n  \n{"class": 1}\n[]\n"text"\n{}\n{"class": "x"} trailing\n{"class": "x", "n": NaN}\n' >> "$path"
    printf '{"class": "\377"}\n\000\001\002\n{"class": "x"' >> "$path" ;;
garbage-and-report) echo "not json" >> "$path"; report free-wrong-size 42 ;;
minimal) printf '{"class": "odd-one"}' >> "$path" ;;
hostile) printf '{"class": "odd\\u001b[31m", "what": "two\\nlines", "access": {"stack": [7, null]}}\n' >> "$path" ;;
flood) i=0; while [ $i -lt 3000 ]; do echo "line $i of a program that talks a lot"; i=$((i + 1)); done; exit 1 ;;
bytes) printf 'a\000b\377c\033d\n'; exit 1 ;;
input) read -r _ && exit 9 ;;
environment) echo "board=${DMAKIT_BOARD-unset} options=$DMAKIT_OPTIONS"; exit 1 ;;
together)
    # Succeeds only while another run is alive: each leaves a mark and waits for a second one.
    mark=$2/$seed; : > "$mark"; i=0
    # shellcheck disable=SC2012 # the names are numbers
    while [ "$(ls "$2" | wc -l)" -lt 2 ]; do i=$((i + 1)); [ $i -gt 100 ] && exit 1; sleep 0.1; done ;;
alone)
    # Fails when another run is alive: each has its mark for a moment.
    [ -z "$(ls "$2")" ] || exit 1
    : > "$2/$seed"; sleep 0.2; rm "$2/$seed" ;;
mixed)
    case $((seed % 6)) in
    1) report free-wrong-size 42 ;;
    2) report sync-not-mapped 50; report free-wrong-size 42 ;;
    3) exit 3 ;;
    4) kill -SEGV $$ ;;
    5) report free-wrong-size 42; kill -SEGV $$ ;;
    esac ;;
class-of-seed) report "class-$seed" 42 ;;
*) exit 64 ;;
esac
exit 0
