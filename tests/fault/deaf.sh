#!/bin/bash
# deaf.sh - workers that do not listen end all the same: an indexer that says megabytes without a line feed, a trainer that closes its output, ignores SIGTERM and is
# cancelled, a runner that is stopped in an eval. And of a runner that was not heard to the end nothing is taken for the answer to the next question. All are deaf.c under another's name.
. "$(dirname "$0")/lib.sh"
MODEL=${MODEL:-${KOLM_MODELS:-$HOME/.cache/kolm-models}/SmolLM2-135M-Instruct-Q4_1.gguf}
[ -f "$MODEL" ] || { echo "no base model at $MODEL: make model"; exit 77; }
make_shout
export KOLM_HOME=$D/store
cp -r "$BUILD/bin" "$D/bin"
kolm=$D/bin/kolm
failed=0
wrong() { echo "FAILED: $*"; cat "$D/out"; failed=1; }

mkdir "$D/docs"
echo hello >"$D/docs/a.txt"
cp "$BUILD/fault/deaf" "$D/bin/kolm-indexer"
timeout -k 1 30 "$kolm" rag index "$D/docs" --name docs >"$D/out" 2>&1
rc=$?
[ $rc -eq 4 ] && grep -q "indexer gave no result" "$D/out" || wrong "the indexer: exit $rc"

"$kolm" tune init "$D/shout.kolm" --base "$MODEL" >"$D/out" 2>&1 || wrong "init"
for n in a b c d; do echo '{"input":"'$n'","output":"'$n'"}'; done >"$KOLM_HOME/tune/shout/captures.jsonl"
cp "$BUILD/fault/deaf" "$D/bin/kolm-trainer"
"$kolm" tune step "$D/shout.kolm" >"$D/out" 2>&1 &
job=$!
for _ in {1..100}; do [ -d "$KOLM_HOME/tune/shout/jobs/1/out" ] && break; sleep 0.1; done
sleep 1
kill -INT $job
for _ in {1..200}; do kill -0 $job 2>/dev/null || break; sleep 0.1; done
kill -0 $job 2>/dev/null && { wrong "the trainer lives 20 s after it was cancelled"; kill -KILL $job; }
wait $job
grep -q "cancelled" "$D/out" || wrong "the step does not say that it was cancelled"

# no signal but SIGKILL reaches a runner that is stopped
"$kolm" tune eval "$D/shout.kolm" >"$D/out" 2>&1 &
job=$!
for _ in {1..300}; do runner=$(pgrep -n -f "^$D/bin/kolm-runner .*--slug shout") && break; sleep 0.02; done
kill -STOP $runner || wrong "there is no runner to be stopped"
kill -INT $job
for _ in {1..250}; do kill -0 $job 2>/dev/null || break; sleep 0.1; done
kill -0 $job 2>/dev/null && { wrong "an eval lives 25 s after it was cancelled"; kill -KILL $runner $job; }
wait $job
grep -q "cancelled" "$D/out" || wrong "the eval does not say that it was cancelled"

# nor does a server that is to end wait for one that is stopped longer than for an answer that may still come
mkdir "$D/mnt"
trap 'umount -l "$D/mnt" 2>/dev/null; rm -rf "$D"' EXIT
answer() { exec 3<>"$D/mnt/shout/run" && echo "$1" >&3 && cat <&3; }
"$D/bin/kolmfs" "$KOLM_HOME" "$D/mnt" 2>"$D/out" || wrong "the server"
[ "$(answer hi)" = HI ] || wrong "run"
runner=$(pgrep -n -f "^$D/bin/kolm-runner .*--slug shout") && kill -STOP $runner || wrong "there is no runner to be stopped"
server=$(awk '$1 == "pid" { print $2 }' "$D/mnt/status")
(answer again) >"$D/out" 2>&1 &
job=$!
sleep 1
kill -TERM "$server"
for _ in {1..450}; do kill -0 "$server" 2>/dev/null || break; sleep 0.1; done
kill -0 "$server" 2>/dev/null && { wrong "a server lives 45 s after SIGTERM: it waits for a stopped runner"; kill -KILL $runner "$server"; }
wait $job && wrong "a run that was not answered says nothing"
umount "$D/mnt" 2>/dev/null

sha=$(sha256sum "$D/shout.kolm" | cut -d' ' -f1)
sed "s/0123456789abcdefghijklmnopqrstuvwxyz------sha256-of-the-artifact/$sha/" "$BUILD/fault/deaf" >"$D/bin/kolm-runner"
printf '%s\n' '{"id":"a","input":"flood","expected":"OK"}' '{"id":"b","input":"x","expected":"OK"}' '{"id":"c","input":"y","expected":"OK"}' >"$D/cases.jsonl"
timeout -k 1 60 "$kolm" eval "$D/shout.kolm" --examples "$D/cases.jsonl" >"$D/out" 2>&1
grep -q "passed:  *2 / 3" "$D/out" || wrong "after an answer without end the runner is asked again"
[ $failed -eq 0 ] && echo "deaf workers: an indexer without line feeds and a trainer and runners that only SIGKILL ends, all ended, a server that ends too; an answer without end is one failure"
exit $failed
