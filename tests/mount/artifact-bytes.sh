#!/bin/bash
# An artifact's bytes never change: looked at after every verb of the mount, from init to remove, its place, mode and times too. Only attach and detach touch the folder it
# lies in, and there only the sidecar. The base is a toy: what matters is who writes where.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.bash"
MODEL=$ROOT/tests/unit/data/peft/tiny
mkdir "$T/docs"
echo 'the fee is nine euro' >"$T/docs/a.txt"
echo 'function generate(input, lib) { if (lib.rag) lib.rag.query("fee", 1); return lib.lm ? lib.lm.choose(input, ["a", "b"]) : "a"; }' | artifact two
mkdir "$T/place" && mv "$T/two.kolm" "$T/place/" && ln -s "$T/place/two.kolm" "$T/elsewhere"
A=$T/place/two.kolm C=$M/two/ctl
chmod 640 "$A"
touch -d '2020-01-02 03:04:05' "$A" "$T/place"
state() { sha256sum <"$A"; stat -c '%i %a %s %Y %Z %h' "$A"; ls -A "$T/place"; }
was=$(state) verbs=0
untouched() { # VERB [SIDECAR]
	verbs=$((verbs + 1))
	same "the artifact and its folder after $1" "$was" "$(state | grep -vxF "${2:-/}")"
}
did() { # COMMAND: a job, to its end
	local out
	out=$(job two "$1")
	has "$1" "$out" " ok rev=v"
	untouched "$1" "${2:-}"
}
at_once() { # COMMAND [SIDECAR]
	poke "$C" - "$1" ok
	untouched "$1" "${2:-}"
}
start
untouched start
poke "$M/ctl" EINVAL "init $A" "base"
untouched "a refused init"
poke "$M/ctl" - "init $A base=$MODEL" ok
untouched init
at_once "capture on"
ok ask two hello >"$T/out"
untouched run
at_once "set gate.k_min 0.1"
at_once "watch on"
at_once "watch off"
did "eval v0"
for n in 1 2 3 4 5 6 7 8; do echo '{"input":"'$n'","output":"'$([ $((n % 2)) = 1 ] && echo a || echo b)'"}'; done >>"$M/two/captures.jsonl"
did "step epochs=1"
did "eval v1 timeout=60"
same "the time it was given" 60 "$(jq .settings.timeout "$M/two/revisions/v1/eval.json")"
poke "$C" ERANGE "eval v1 timeout=0" "timeout: 1 to 3600"
poke "$C" EINVAL "eval timout=1" 'did you mean "timeout"'
did "eval timeout=60"
did "replay v1"
at_once "promote v1 force"
at_once rollback
echo '{"input":"9","output":"a"}' >>"$M/two/captures.jsonl"
job two cycle >"$T/out"
untouched cycle
for n in 11 12 13 14 15 16; do echo '{"input":"'$n'","output":"b"}'; done >>"$M/two/captures.jsonl"
poke "$C" - "step epochs=1000" "job "
poke "$C" - cancel ok
timeout 60 cat "$M/two/wait" >"$T/out"
untouched "a cancelled step"
echo "index $T/docs name=docs" >"$M/rag/ctl" && timeout 20 cat "$M/rag/wait" >"$T/out" || fail index
untouched index
at_once "attach docs" two.kolm.rag.json
ok ask two hello >"$T/out"
untouched "a run with an index" two.kolm.rag.json
did "eval v0" two.kolm.rag.json
at_once detach
at_once "gc keep=1"
cat "$M"/two/{status,tune-config.json,events,HEAD,ctl,log} "$M/two/artifact/manifest.json" >"$T/out" || fail "reading"
untouched reading
stop
untouched "the server's end"
start
untouched "another start"
ok eval 'echo "remove two" >"$C"'
untouched remove
no test -e "$M/two"
[ $verbs -ge 24 ] || fail "only $verbs verbs were looked at"
finish
