#!/bin/bash
# loop.sh FOLDER - the loop, short: compile, mount, init, eval, rows, step, eval beside HEAD, promote, a run, rollback, an index and a question to it. FOLDER must not
# exist; it is left behind, the mount is not. Prints what came out, the same on every run with the same base: digests, passes, answers; no times. $TRACE goes before each
# program of ours that is started here, and before nothing else: a shell without $SHELL asks the name service who it is, over a socket.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
bin=$(realpath "${BUILD:-$root/build}")/bin
dir=$1 base=$(realpath "$MODEL")
mkdir -m 700 "$dir" "$dir/store"
mkdir "$dir/mnt" "$dir/docs" "$dir/src"
dir=$(realpath "$dir") # of the mount's absolute paths
mnt=$dir/mnt
export KOLM_HOME=$dir/store
trap '{ [ -z "${pid:-}" ] || kill "$pid" || true; wait; umount -l "$mnt"; } 2>/dev/null || true' EXIT

python3 "$root/tests/mount/mood.py" cases | sed -n 1,4p >"$dir/src/cases.jsonl"
cat >"$dir/src/recipe.js" <<'END'
const MOODS = ["happy", "angry"];
function generate(input, lib) {
	if (!lib.lm) return { mood: "?" };
	return { mood: lib.lm.choose(input.text + " How do I feel?", MOODS) };
}
END
echo '{"job_id":"job_mood","task":"the loop without a network","base_model":"none","recipes":[{"id":"rcp_mood","name":"mood","source_file":"recipe.js"}],
"comparator":"exact","training_stats":{"latency_p50_us":60}}' >"$dir/src/spec.json"
${TRACE:-} "$bin/kolm" compile --spec "$dir/src/spec.json" --examples "$dir/src/cases.jsonl" --out "$dir/mood.kolm" --allow-below-gate >/dev/null

${TRACE:-} "$bin/kolmfs" -f "$KOLM_HOME" "$mnt" &
pid=$!
for _ in $(seq 200); do [ -e "$mnt/version" ] && break; sleep 0.05; done
job() { echo "$1" >"$mnt/mood/ctl"; timeout 200 cat "$mnt/mood/wait" | sed 's/ elapsed=.*//; s/ k=[^ ]*//'; }
echo "init $dir/mood.kolm base=$base" >"$mnt/ctl"
job "eval v0"
python3 "$root/tests/mount/mood.py" rows 0 8 >>"$mnt/mood/captures.jsonl"
job "step epochs=1"
sha256sum <"$mnt/mood/revisions/v1/adapter_model.safetensors"
job "eval v1"
jq -c '[.egress, .walls.probes, (.cases | map([.id, .pass, .output]))]' "$mnt/mood/revisions/v1/eval.json"
echo "promote v1 force" >"$mnt/mood/ctl"
cat "$mnt/mood/HEAD"
exec 5<>"$mnt/mood/run"
echo '{"text":"What a lovely day."}' >&5
cat <&5
exec 5>&-
echo rollback >"$mnt/mood/ctl"
cat "$mnt/mood/HEAD"
for i in 1 2 3; do echo "Document $i says that refund number $i takes $i days." >"$dir/docs/$i.txt"; done
echo "index $dir/docs name=docs" >"$mnt/rag/ctl"
timeout 60 cat "$mnt/rag/wait" | sed 's/ elapsed=.*//'
cat "$mnt/rag/docs/query?q=refund+2&k=1&fmt=text" | sed "s|$dir/||g"
echo shutdown >"$mnt/ctl"
wait $pid
