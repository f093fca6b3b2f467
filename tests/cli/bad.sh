#!/bin/bash
# BAD-INPUTS C and D, a row each, through `kolm verify` and `kolm run` (bad.py), then A, B, E to H and K through the verbs of tune (bad_loop.py): the exit status, the words, the time,
# and a store that did not change. SEED chooses half of the second table; ALL=1: every row.
. "$(dirname "$0")/lib.sh"

command -v python3 >/dev/null || skip "no python3"
KOLM=$BUILD/bin/kolm python3 "$ROOT/tests/cli/bad.py" "$COMPAT" "$T" || exit 1
KOLM=$BUILD/bin/kolm python3 "$ROOT/tests/cli/bad_loop.py" "$T" "$ROOT/tests/unit/data/peft/tiny" "${SEED:-$(date +%j)}" ${ALL:+all} || exit 1
exit 0
