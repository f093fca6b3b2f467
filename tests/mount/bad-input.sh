#!/bin/bash
# BAD-INPUTS A, B, E, F, G, H, K through a mount: a table with a row per id (bad_rows.py). SEED chooses which rows are also tried from 32 clients and as a tenth command; ALL=1: every row.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.bash"
slug one
cp -r "$ROOT/tests/unit/data/peft/tiny" "$T/base"
echo 'function generate(input, lib) { return lib.lm ? lib.lm.choose(input, ["a", "b"]) : "a"; }' | artifact two
echo 'function generate(input, lib) { return lib.lm ? lib.lm.choose(input, ["c", "d"]) : "c"; }' | artifact other
printf '%s\n' '{"id":"c1","input":"x","expected":"a"}' '{"id":"c2","input":"y","expected":"b"}' >"$T/four.cases"
echo 'function generate(input, lib) { return lib.lm ? lib.lm.choose(input, ["a", "b"]) : "a"; }' | artifact four
ln -s "$MODEL" "$T/base.gguf"
start
tuned two
cp -r "$S/tune/two/revisions/v0" "$S/tune/two/revisions/v1"
# four has a base so small that a step and an eval take a second: v1 was trained and measured beside HEAD, v0
echo "init $T/four.kolm base=$T/base rank=4" >"$M/ctl" || die "$(cat "$M/error")"
printf '{"input":"q","output":"a"}\n{"input":"z","output":"b"}\n' >"$M/four/captures.jsonl"
has "a step" "$(job four "step epochs=1")" "step ok rev=v1"
has "an eval" "$(job four "eval v1")" "eval ok rev=v1"
timeout 800 python3 "$ROOT/tests/mount/bad_input.py" "$M" "$S" "$T" "${SEED:-$(date +%j)}" ${ALL:+all} 2>&1 | tail -n 60
[ "${PIPESTATUS[0]}" -eq 0 ] || fail "see above"
no grep -aq $'\x1b' "$T/log"
finish
