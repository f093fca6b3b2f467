#!/bin/bash
# calls.sh - the recipe corpus (build/test/spawn_cell: the examples, the recorded runs of the reference, the bad inputs but those that only compute, and no canary, whose probes attack) under a tracer; every system call a locked
# cell makes must be in its table (kolm-cell --calls), and every line of the table that says "seen" must have been. Needs strace.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
work=$(mktemp -d /tmp/kolm-calls.XXXXXX)
trap 'rm -rf "$work"' EXIT
"$build/bin/kolm-cell" --calls >"$work/table" || exit 1
timeout 300 strace -f --decode-pids=pidns -o "$work/trace" "$build/test/spawn_cell" -j1 --filter "cell/!(d04*|*canary*)" >"$work/log" 2>&1 || { tail -n 20 "$work/log"; exit 1; }
python3 tests/airgap/calls.py "$work/table" "$work/trace"
