#!/usr/bin/env bash
# mem= of a step: the plan says its bytes and keeps to it, whatever the threads; what cannot fit is refused with the numbers, before anything is trained
set -u
cd "$(dirname "$0")/../.." || exit 1
bin=$(realpath "${BUILD:-build}/bin")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; tail -n 5 "$work/log"; exit 1; }

mkdir -p "$work/tune/revisions"
printf '{"base_model":"%s","rank":4,"alpha":8,"target_modules":["q_proj","k_proj","v_proj","o_proj"]}' "$PWD/tests/unit/data/peft/tiny" >"$work/tune/tune-config.json"
for i in $(seq 1 24); do
	printf '{"prompt":"say the word of list %d: %s","answer":"answer %d"}\n' "$i" "$(printf 'x%.0s' $(seq 1 $((i % 13 + 1))))" $((i % 7))
done >"$work/rows.jsonl"

# train MEM THREADS: one epoch; its log and, when it ends well, its adapter's digest
train() {
	rm -rf "$work/out" && mkdir "$work/out"
	env -i KOLM_ROWS="$work/rows.jsonl" KOLM_SEED=7 KOLM_THREADS="$2" ${1:+KOLM_MEM=$1} timeout 60 "$bin/kolm-trainer" --tune-dir "$work/tune" --captures "$work/rows.jsonl" \
		--out-dir "$work/out" --prev v0 --epochs 1 --batch-size 8 --lr 1e-3 >"$work/log" 2>"$work/err" || return 1
	sha256sum <"$work/out/adapter_model.safetensors"
}
planned() { sed -n '1s/.*"event":"plan".*"mem":\([0-9]*\).*/\1/p' "$work/log"; }

train "" 2 >/dev/null || fail "without mem="
usual=$(planned)
[ "$usual" -gt 0 ] || fail "no plan in front of the run"

train 1000 2 && fail "a plan of more than mem= ran"
sentence=$(sed -n 's/.*"error":"\(.*\)".*/\1/p' "$work/log")
[[ $sentence =~ ^longest\ row\ of\ ([0-9]+)\ tokens:\ the\ step\ needs\ ([0-9]+)\ bytes\ of\ memory,\ 1000\ are\ allowed ]] || fail "said: $sentence"
least=${BASH_REMATCH[2]}
[ "$(wc -l <"$work/log")" = 1 ] || fail "something was said before the refusal"
[ -e "$work/out/adapter_model.safetensors" ] && fail "a refused step left an adapter"
[ "$least" -lt "$usual" ] || fail "the least plan ($least) is not below the usual one ($usual)"

train $((least - 1)) 2 && fail "a byte less than needed was enough"
for mem in "$least" $((least + (usual - least) / 4)) $((least + (usual - least) / 2)) "$usual" $((2 * usual)); do
	want=$(train "$mem" 2) || fail "mem=$mem was refused: needed $least"
	[ "$(planned)" -le "$mem" ] || fail "the plan takes $(planned) of $mem"
	[ "$(train "$mem" 1)" = "$want" ] || fail "mem=$mem: one thread makes another adapter than two"
done
[ "$(planned)" -gt "$least" ] || fail "more memory changes nothing"
