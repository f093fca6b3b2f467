#!/bin/bash
# BAD-INPUTS C and D, a row each, through `kolm verify` and `kolm run`: the exit status, the errno, the words, the time, and a store that did not change.
. "$(dirname "$0")/lib.sh"

command -v python3 >/dev/null || skip "no python3"
KOLM=$BUILD/bin/kolm python3 "$ROOT/tests/cli/bad.py" "$COMPAT" "$T" || exit 1
exit 0
