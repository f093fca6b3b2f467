#!/bin/bash
# takeover.sh - an engine that a recipe has taken over answers its last case right and then, when nobody asks any more, reaches for the network by a bare system
# call. The eval fails all the same, egress_blocked is logged, nothing promotes the revision, force neither. The engine is that of build/ablate, told by KOLM_ABLATE.
set -u
cd "$(dirname "$0")/../.." || exit 1
MODEL=${MODEL:-${KOLM_MODELS:-$HOME/.cache/kolm-models}/SmolLM2-135M-Instruct-Q4_1.gguf}
[ -f "$MODEL" ] || { echo "no base model at $MODEL: make model"; exit 77; }
make -s -j2 ABLATE=1 SAN= FUZZ= B=build/ablate all >/dev/null || exit 1
bin=$PWD/build/ablate/bin
work=$(mktemp -d /tmp/kolm-takeover.XXXXXX)
trap 'rm -rf "$work"' EXIT
export KOLM_HOME=$work/store
mkdir -m 700 "$KOLM_HOME"
failed=0
wrong() { echo "FAILED: $*"; failed=1; }

for n in 1 2 3 4 kolm-takeover; do echo '{"id":"c'$n'","input":"'$n'","expected":"'$n'"}'; done >"$work/cases.jsonl"
echo '{"job_id":"job_t","task":"t","base_model":"none","recipes":[{"id":"rcp_t","name":"t","source":"function generate(i) { return i; }"}],
"training_stats":{"latency_p50_us":60}}' >"$work/spec.json"
t=$work/taken.kolm
"$bin/kolm" compile --spec "$work/spec.json" --examples "$work/cases.jsonl" --out "$t" --allow-below-gate >"$work/log" 2>&1 &&
	"$bin/kolm" tune init "$t" --base "$MODEL" >>"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
for n in a b c d; do echo '{"input":"'$n'","output":"'$n'"}'; done >>"$KOLM_HOME/tune/taken/captures.jsonl"
timeout 200 "$bin/kolm" tune step "$t" --epochs 1 >>"$work/log" 2>&1 || { cat "$work/log"; exit 1; }

# honest: it passes, and could be promoted
timeout 100 "$bin/kolm" tune eval "$t" --rev v1 >"$work/out" 2>&1 || { wrong "the honest eval"; cat "$work/out"; }
json=$KOLM_HOME/tune/taken/revisions/v1/eval.json
[ "$(jq -c '[.passed, .total, .egress]' "$json")" = "[5,5,0]" ] || wrong "the honest eval: $(jq -c '[.passed, .total, .egress]' "$json")"

# kolm eval, which leaves no eval.json: its last case is the one
KOLM_ABLATE=takeover timeout 100 "$bin/kolm" eval "$t" >"$work/out" 2>&1 && wrong "kolm eval did not fail"
grep -q "egress attempt: socket" "$work/out" || { wrong "kolm eval does not say why"; cat "$work/out"; }

KOLM_ABLATE=takeover timeout 100 "$bin/kolm" tune eval "$t" --rev v1 >"$work/out" 2>&1 && wrong "the eval did not fail"
grep -q "egress attempt" "$work/out" || { wrong "it does not say why"; cat "$work/out"; }
[ "$(jq -c '[.egress > 0, (.cases[] | select(.id == "ckolm-takeover") | [.pass, .output, .egress])]' "$json")" = '[true,[false,"kolm-takeover",["socket"]]]' ] ||
	{ wrong "eval.json"; jq -c '[.egress, .cases]' "$json"; }
grep -q '"event":"egress_blocked"' "$KOLM_HOME/logs/tune.jsonl" || wrong "egress_blocked is not logged"
"$bin/kolm" tune promote "$t" --rev v1 --force >"$work/out" 2>&1 && wrong "it was promoted"
grep -q "egress attempt" "$work/out" || { wrong "the refusal does not say why"; cat "$work/out"; }
[ "$(cat "$KOLM_HOME/tune/taken/HEAD")" = v0 ] || wrong "HEAD moved"
[ $failed -eq 0 ] && echo "a taken-over engine that answers right and then makes a socket: eval failed, logged, not promotable"
exit $failed
