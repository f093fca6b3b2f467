#!/bin/bash
# The 14 artifacts of the reference give their recorded outputs; the 20 tampered ones are refused.
. "$(dirname "$0")/lib.sh"

[ -f "$COMPAT/golden/built.json" ] || skip "no conformance data at $COMPAT (14 + 20 artifacts)"
command -v python3 >/dev/null || skip "no python3"
KOLM=$BUILD/bin/kolm python3 "$ROOT/tests/cli/golden.py" "$COMPAT" "$T" || exit 1
exit 0
