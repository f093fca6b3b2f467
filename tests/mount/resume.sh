#!/bin/bash
# A server killed in the middle of a step, and the next one asked to end: the third ends it as the same job, number and rows, in the same bytes as a step nobody disturbed.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.bash"
mood_artifact
start
tuned mood
tuned mood slug=calm
D=$S/tune/mood/jobs/1
# enough rows for a step that outlives its first checkpoint, which comes after ten seconds; a trainer under sanitizers needs fewer
n=80
case $BUILD in *-san) n=16 ;; esac
for at in mood calm; do mood_rows 0 $n >>"$M/$at/captures.jsonl"; done
poke "$M/mood/ctl" - "step epochs=3 seed=7" "job 1"
within 200 test -s "$D/out/checkpoint/state"
[ "$(cat "$M/mood/jobs/1/state")" = running ] || fail "the step was over before its first checkpoint: more rows are needed"
kill -KILL "$(server_pid)"
rows=$(sha256sum <"$D/rows.jsonl")
mood_rows 0 4 | sed 's/happy/angry/' >>"$S/tune/mood/captures.jsonl" # what comes later is for the next step
start
# the second worker has made a step
again() { awk '/"event":"plan"/ { n++ } /"event":"progress"/ && n > 1 { there = 1 } END { exit !there }' "$M/mood/log"; }
within 120 again
# who waits is answered when the server ends
cat "$M/mood/wait" 2>"$T/why" &
waiter=$!
cat "$M/mood/follow" >/dev/null &
follower=$!
soon holds $waiter mood/wait
soon holds $follower mood/follow
stop
wait $waiter && fail "wait ended well"
has "wait, at the end" "$(cat "$T/why")" "No data available"
wait $follower || fail "follow: exit $?"
start
line=$(timeout 300 cat "$M/mood/wait")
has "it went on" "$line" "1 step ok rev=v1 "
same "one job" 1 "$(ls "$M/mood/jobs" | tr '\n' ' ' | sed 's/ $//')"
same "the same rows" "$rows" "$(sha256sum <"$D/rows.jsonl")"
same "the same captures" "$n $n 7 3" "$(jq -r '"\(.captures.rows) \(.rows_used) \(.seed) \(.epochs)"' "$M/mood/revisions/v1/train.json")"
no test -e "$D/out"
same "three workers" 3 "$(grep -c '"event":"plan"' "$M/mood/log")"
sed -n 's/.*"event":"progress","step":\([0-9]*\).*/\1/p' "$M/mood/log" | awk '$1 == 1 && last > 1 { exit 1 } { last = $1 }' || fail "one began at the first step again"
done_line=$(PATIENCE=300 job calm "step epochs=3 seed=7")
has "undisturbed" "$done_line" "1 step ok rev=v1 "
same "the same bytes" "$(sha256sum <"$M/calm/revisions/v1/adapter_model.safetensors")" "$(sha256sum <"$M/mood/revisions/v1/adapter_model.safetensors")"
finish
