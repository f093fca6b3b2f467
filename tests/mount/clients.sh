#!/bin/bash
# The clients of examples/clients, each on a real mount: six new rows, one epoch, eval, promote or the gate's refusal. One server, one slug, one after the other.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.bash"
head -n 4 "$ROOT/examples/redactor/cases.jsonl" >"$T/redactor.cases"
artifact redactor <"$ROOT/examples/redactor/recipe.js"
start
tuned redactor
C=$ROOT/examples/clients
export STEP="step epochs=1"
ran=() missing=() n=0

# play LANGUAGE GATE COMMAND...: rows no client sent before; the gate lets it pass (ok), or refuses it (gate)
play() {
	local language=$1 gate=$2 out rc before rev
	shift 2
	tail -n +$((n * 6 + 1)) "$ROOT/examples/redactor/corrected.jsonl" | head -n 6 >"$T/rows.jsonl"
	n=$((n + 1))
	before=$(cat "$M/redactor/HEAD")
	echo "set gate.k_min $([ "$gate" = ok ] && echo 0 || echo 1)" >"$M/redactor/ctl" || fail "set: $(cat "$M/redactor/error")"
	[ $n -eq 1 ] && echo "set gate.require_improvement false" >"$M/redactor/ctl"
	out=$(timeout 60 "$@" "$M" redactor "$T/rows.jsonl" 2>"$T/err")
	rc=$?
	[ $rc -eq 0 ] || { fail "$language: exit $rc: $out $(cat "$T/err")"; return; }
	rev=$(sed -n '1s/.* step ok rev=\(v[0-9]*\) .*/\1/p' <<<"$out")
	same "$language: the step" "v$n" "$rev"
	has "$language: the eval" "$out" " eval ok rev=$rev k="
	has "$language: eval.json" "$out" "measured: "
	if [ "$gate" = ok ]; then
		has "$language: promote" "$out" "promoted $rev"
		same "$language: HEAD" "$rev" "$(cat "$M/redactor/HEAD")"
	else
		has "$language: promote" "$out" "refused by the gate: "
		has "$language: the sentence" "$out" "K_GATE: 0."
		same "$language: HEAD" "$before" "$(cat "$M/redactor/HEAD")"
	fi
	has "$language: HEAD, as it says" "$out" "HEAD is $(cat "$M/redactor/HEAD")"
	has "$language: run" "$out" '"text": "Hello'
	ran+=("$language")
}

have() { command -v "$2" >/dev/null || { missing+=("$1"); return 1; }; }

have sh sh && play sh ok sh "$C/loop.sh"
have python python3 && play python gate python3 "$C/loop.py"
have node node && play node ok node "$C/loop.js"
have c cc && { ok cc -Wall -Werror -o "$T/loop-c" "$C/loop.c" && play c gate "$T/loop-c"; }
have go go && { ok env GOCACHE="$T/go" GOFLAGS=-mod=mod go build -o "$T/loop-go" "$C/loop.go" && play go ok "$T/loop-go"; }
same "rows that were appended" $((n * 6)) "$(value redactor captures)"
same "refusals in the log" "$(grep -c gate_blocked "$M/logs/tune.jsonl")" "$((n / 2))"
echo "ran: the clients in ${ran[*]}${missing[*]:+; not installed: ${missing[*]}}"
finish
