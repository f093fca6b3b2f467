#!/bin/bash
# what the programs are made of; a sample of the hostile probes with each layer of the cell taken away in turn; the quick commands of kolm-airgap(7), as printed. The
# rest of them in make check-fault.
cd "$(dirname "$0")/../.." || exit 1
failed=0
bash tests/airgap/ablate.sh 8 "$(date +%j)" || failed=1
# the sanitizers' runtime makes calls of its own
case $BUILD in *-san) exit $failed ;; esac
if [ -f "${MODEL:-}" ]; then bash tests/airgap/page.sh quick || failed=1; else bash tests/airgap/symbols.sh "$BUILD/bin" || failed=1; fi
exit $failed
