#!/bin/bash
# page.sh [quick] - every command that kolm-airgap(7) prints, run as printed: in the source tree, with a store that has a slug `redactor` and a mount of it. `quick`
# leaves out those that play attackers or the loop at length (they are tests themselves).
set -u
cd "$(dirname "$0")/../.." || exit 1
root=$PWD page=man/kolm-airgap.7 quick=${1:-}
export BUILD=${BUILD:-build}
bin=$(realpath "$BUILD")/bin
MODEL=$(realpath "$MODEL")
work=$(mktemp -d /tmp/kolm-page.XXXXXX)
failed=0 ran=0
trap 'umount -l "$work/mnt" 2>/dev/null; rm -rf "$work"' EXIT
lint=$(mandoc -T lint -W warning $page 2>&1) || { echo "$lint"; failed=1; }

export HOME=$work PATH=$bin:$PATH MODEL
unset KOLM_HOME
mkdir "$work/mnt"
for n in 1 2 3; do echo '{"id":"c'$n'","input":"'$n'","expected":"'$n'"}'; done >"$work/cases.jsonl"
echo '{"job_id":"job_r","task":"t","base_model":"none","recipes":[{"id":"rcp_r","name":"r","source":"function generate(i) { return i; }"}],
"training_stats":{"latency_p50_us":60}}' >"$work/spec.json"
{
	kolm compile --spec "$work/spec.json" --examples "$work/cases.jsonl" --out "$work/redactor.kolm" --allow-below-gate &&
		kolm tune init "$work/redactor.kolm" --base "$MODEL" &&
		echo '{"input":"a","output":"a"}' >>"$HOME/.kolm/tune/redactor/captures.jsonl" &&
		timeout 200 kolm tune step "$work/redactor.kolm" --epochs 1 && timeout 100 kolm tune eval "$work/redactor.kolm" --rev v1 &&
		kolmfs "$HOME/.kolm" "$work/mnt"
} >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }

while IFS= read -r command; do
	case $quick:$command in quick:*airgap/calls* | quick:*ablate* | quick:*nowhere* | quick:*takeover* | quick:tests/run*) continue ;; esac
	ran=$((ran + 1))
	out=$(timeout 300 bash -c "${command//\/mnt\/kolm/$work/mnt}" 2>&1 </dev/null) || { echo "FAILED as printed: $command"; tail -n 20 <<<"$out"; failed=1; }
	want=
	case $command in
	grep\ -rl*) want='^kolmfs/runner/sandbox_walls.c$' ;;
	kolm-cell*) want='^futex	allowed	seen	' ;;
	*calls.sh) want='all in the table$' ;;
	*ablate.sh) want='^without listener .* 0 failed$' ;;
	*nowhere.sh) want='no packet; no socket but' ;;
	tests/run*) want=' 0 failed' ;;
	*takeover.sh) want='not promotable$' ;;
	'kolm doctor') want='^  ok       probes ' ;;
	*eval.json) want='^0$' ;;
	*train.json) want='^"none"$' ;;
	*'log verify') want='.' ;;
	*Seccomp*) want='^Seccomp:.2$' ;;
	*symbols.sh | *egress_blocked*) [ -z "$out" ] || { echo "FAILED: $command says: $out"; failed=1; } ;;
	*) echo "FAILED: page.sh does not know what this should say: $command"; failed=1 ;;
	esac
	grep -qE -- "$want" <<<"$out" || { echo "FAILED: no line like '$want' from: $command"; tail -n 5 <<<"$out"; failed=1; }
done < <(sed -n 's/^\.Dl //p' "$root/$page" | sed 's/\\(dq/"/g')
[ $ran -ge 8 ] || { echo "FAILED: only $ran commands found in $page"; failed=1; }
kill "$(awk '/^pid / { print $2 }' "$work/mnt/status")" && sleep 0.3
exit $failed
