#!/bin/bash
# BAD-INPUTS A, B, E, F, G, H through a mount: a table with a row per id (bad_input.py). SEED chooses which rows are also tried from 32 clients and as a tenth command; ALL=1: every row.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.bash"
slug one
echo 'function generate(input, lib) { return lib.lm ? lib.lm.choose(input, ["a", "b"]) : "a"; }' | artifact two
echo 'function generate(input, lib) { return lib.lm ? lib.lm.choose(input, ["c", "d"]) : "c"; }' | artifact other
ln -s "$MODEL" "$T/base.gguf"
start
tuned two
cp -r "$S/tune/two/revisions/v0" "$S/tune/two/revisions/v1"
timeout 800 python3 "$ROOT/tests/mount/bad_input.py" "$M" "$S" "$T" "${SEED:-$(date +%j)}" ${ALL:+all} 2>&1 | tail -n 60
[ "${PIPESTATUS[0]}" -eq 0 ] || fail "see above"
no grep -aq $'\x1b' "$T/log"
finish
