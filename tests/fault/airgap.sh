#!/bin/bash
# every command of kolm-airgap(7), as printed: symbols, the calls of locked cells, every hostile probe with each layer taken away in turn, the loop without a network
# and under a tracer, a recipe and an engine that reach for the network
cd "$(dirname "$0")/../.." || exit 1
tools/deps strace >/dev/null 2>&1
command -v strace >/dev/null || { echo "strace is missing and cannot be installed"; exit 77; }
make -s -j2 "${BUILD#"$PWD"/}/test/spawn_cell" >/dev/null || exit 1
bash tests/airgap/page.sh || exit 1
echo "airgap: nothing got out"
