#!/bin/bash
# ablate.sh [EVERY SEED] - every hostile probe against the cell with each layer taken away in turn, and against a cell without any, to see that the
# probes are worth something. EVERY and SEED take a sample of one in EVERY. The programs are built apart (make ABLATE=1); no shipped one has the switch.
set -u
cd "$(dirname "$0")/../.." || exit 1
dir=build/ablate/bin
make -s -j2 ABLATE=1 SAN= FUZZ= B=build/ablate $dir/kolm-cell $dir/hostile >/dev/null || exit 1
failed=0 seed=${2:-0}
for layer in none language netns pidns ipcns root identity rlimits landlock filter listener; do
	timeout 240 $dir/hostile $dir/kolm-cell $layer ${1:+$1 $((seed += 1))} || failed=1
done
timeout 240 $dir/hostile $dir/kolm-cell all || failed=1
exit $failed
