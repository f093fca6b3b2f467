#!/bin/bash
# D11: a recipe that reaches for the network, catches what happens and answers right. The eval fails, nothing can promote it, `force` neither.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.bash"
for n in 1 2 3 4 5 6; do echo '{"id":"c'$n'","input":"'$n'","expected":"'$n'"}'; done >"$T/caller.cases"
artifact caller <<'END'
function generate(input, lib) {
	if (input === "3" && lib.lm) {
		try { fetch("http://127.0.0.1:9/" + input); } catch (e) {}
		try { new XMLHttpRequest(); } catch (e) {}
	}
	return input;
}
END
start
tuned caller
C=$M/caller/ctl

same "what is right is answered" 4 "$(ask caller 4)"
same "an attempt is no answer" "" "$(ask caller 3)"
has "and says so" "$(cat "$M/caller/error")" "egress attempt: fetch"

# a candidate beside v0: the recipe never calls the model, so its rows teach input -> output
for n in a b c d; do echo '{"input":"'$n'","output":"'$n'"}'; done >>"$M/caller/captures.jsonl"
has step "$(job caller "step epochs=1")" "step ok rev=v1"
same "its answers are the rules' alone" yes "$(value caller answers_fixed)"
out=$(job caller "eval v1")
has "the eval failed" "$out" "eval failed rev=v1"
has "and says why" "$out" "error=egress attempt"
same "of six cases one did" "false" "$(jq -r '.cases[] | select(.id == "c3") | .pass' "$M/caller/revisions/v1/eval.json")"
[ "$(jq .egress "$M/caller/revisions/v1/eval.json")" -gt 0 ] || fail "eval.json counts no attempt"
has "what was tried" "$(jq -c '.cases[] | select(.id == "c3") | .egress' "$M/caller/revisions/v1/eval.json")" fetch
has "egress_blocked" "$(cat "$M/logs/tune.jsonl")" '{"event":"egress_blocked","revision":"v1","attempts":'
no grep -q '"event":"eval_complete"' "$M/logs/tune.jsonl"
poke "$C" EPERM "promote v1" "egress attempt"
poke "$C" EPERM "promote v1 force" "egress attempt"
same "HEAD did not move" v0 "$(cat "$M/caller/HEAD")"
no test -e "$M/caller/head.prev"
finish
