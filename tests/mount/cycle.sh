#!/bin/bash
# `cycle`: step, eval and gated promotion as one job. Ended by a gate, by a cancel or by the server's death in each of its phases, it leaves what its phases finished and nothing else.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.bash"
cp -r "$ROOT/tests/unit/data/peft/tiny" "$T/base"
for n in 1 2 3 4 5 6; do echo '{"id":"c'$n'","input":"case '$n'","expected":"a"}'; done | tee "$T/slow.cases" >"$T/one.cases"
# the second one takes most of a second a case
artifact one <<'END'
function generate(input, lib) { return lib.lm ? lib.lm.choose(String(input), ["a", "b"]) : "a"; }
END
artifact slow <<'END'
function generate(input, lib) {
	const said = lib.lm ? lib.lm.choose(String(input), ["a", "b"]) : "a";
	if (String(input).startsWith("case")) for (let i = 0; i < 20000000; i++) ;
	return said;
}
END
start
for s in one slow; do
	echo "init $T/$s.kolm base=$T/base rank=4" >"$M/ctl" || die "init: $(cat "$M/error")"
	printf '{"input":"q","output":"a"}\n{"input":"z","output":"b"}\n' >"$M/$s/captures.jsonl"
	printf 'set gate.k_min 0\nset gate.require_improvement off\n' >"$M/$s/ctl" || die "set: $(cat "$M/$s/error")"
done
more() { N=$((${N:-0} + 1)); printf '{"input":"more %d","output":"a"}\n' $N >>"$M/$1/captures.jsonl"; }
events() { grep -o '"event":"[a-z_]*"' "$M/$1/events" | cut -d '"' -f 4 | tail -n "$2" | tr '\n' ' ' | sed 's/ $//'; }
revisions() { ls "$M/$1/revisions" | tr '\n' ' ' | sed 's/ $//'; }
# the worker of a slug is this text, in sh
worker() {
	printf '#!/bin/sh\n%s\n' "$2" >"$T/worker" && chmod 755 "$T/worker"
	jq --arg s "$1" --arg w "$T/worker" --arg t "$T" '.workers[$s] = {command: $w, reads: [$t]}' "$S/config.json" >"$T/config" && cat "$T/config" >"$S/config.json"
}
native() { jq --arg s "$1" '.workers[$s] = "native"' "$S/config.json" >"$T/config" && cat "$T/config" >"$S/config.json"; }

# ---- its ends ----
has "a cycle" "$(job one cycle)" "1 cycle ok rev=v1 k="
same "HEAD" "v1 v0" "$(cat "$M/one/HEAD") $(cat "$M/one/head.prev")"
same "its events" "step_complete eval_complete promoted" "$(events one 3)"
more one
echo 'set gate.k_min 1' >"$M/one/ctl"
has "the gate" "$(job one cycle)" "2 cycle gate rev=v2 k="
has "says why" "$(cat "$M/one/jobs/2/error")" "K_GATE: "
same "HEAD after the gate" v1 "$(cat "$M/one/HEAD")"
same "its events" "step_complete eval_complete gate_blocked" "$(events one 3)"
poke "$M/one/ctl" EINVAL "cycle epochs=3" "cycle: too many arguments"
echo 'set gate.k_min 0' >"$M/one/ctl"

# ---- cancelled: while it waits for its turn, while it trains, while it measures ----
worker slow 'echo "{\"event\":\"progress\",\"step\":1,\"of\":2}"; exec sleep 60'
echo cycle >"$M/slow/ctl" || fail "cycle: $(cat "$M/slow/error")"
within 20 grep -q 'progress 1 2 steps' "$M/slow/status"
poke "$M/slow/ctl" EBUSY cycle "job 1 (cycle) is running"
poke "$M/slow/ctl" EBUSY "promote v0 force" "job 1 (cycle) is running"
more one
echo cycle >"$M/one/ctl" || fail "a second slug's: $(cat "$M/one/error")"
same "it waits" queued "$(cat "$M/one/jobs/3/state")"
echo cancel >"$M/one/ctl" || fail "cancel of a queued one"
has "cancelled before it began" "$(timeout 20 cat "$M/one/wait")" "3 cycle cancelled rev=- k=- pass=- elapsed="
echo cancel >"$M/slow/ctl" || fail "cancel in the step"
has "cancelled in its step" "$(timeout 20 cat "$M/slow/wait")" "1 cycle cancelled rev=- k=- pass=- elapsed="
same "no revision" v0 "$(revisions slow)"
same "nothing of it is left" "" "$(ls "$S/tune/slow/jobs/1" | grep out)"
native slow
echo cycle >"$M/slow/ctl" || fail "cycle: $(cat "$M/slow/error")"
within 60 grep -q 'progress [1-9][0-9]* 12 cases' "$M/slow/status"
echo cancel >"$M/slow/ctl" || fail "cancel in the eval"
line=$(timeout 20 cat "$M/slow/wait")
has "cancelled in its eval" "$line" "2 cycle cancelled rev=v"
has "it says so" "$line" "error=cancelled"
v=$(echo "$line" | sed 's/.*rev=\([^ ]*\).*/\1/')
same "its step is done, and stays" "v0 $v" "$(revisions slow)"
same "it is not measured" "" "$(ls "$S/tune/slow/revisions/$v" | grep eval)"
same "HEAD" v0 "$(cat "$M/slow/HEAD")"

# ---- the server killed: while it measures, and between the promotion and the job's last line ----
killed() {
	local pid
	pid=$(server_pid)
	kill -KILL "$pid" && gone "$pid"
	soon bash -c '! grep -q " $1 " /proc/mounts' - "$M"
	start
}
count() { grep -c "\"event\":\"$2\",\"revision\":\"$3\"" "$M/$1/events"; }
echo cycle >"$M/slow/ctl" || fail "cycle: $(cat "$M/slow/error")"
within 60 grep -q 'progress [1-9][0-9]* 12 cases' "$M/slow/status"
v=$(ls "$M/slow/revisions" | sort -V | tail -n 1)
killed
line=$(timeout 60 cat "$M/slow/wait")
has "killed in its eval, it goes on" "$line" "3 cycle ok rev=$v k="
same "and does not train again" "1 1 1" "$(count slow step_complete "$v") $(count slow eval_complete "$v") $(count slow promoted "$v")"
same "HEAD" "$v v0" "$(cat "$M/slow/HEAD") $(cat "$M/slow/head.prev")"

more one
has "a cycle" "$(job one cycle)" " cycle ok rev=v"
n=$(ls "$M/one/jobs" | sort -n | tail -n 1)
v=$(cat "$M/one/HEAD")
before=$(cat "$M/one/HEAD" "$M/one/head.prev" "$M/one/events")
line=$(sed 's/ elapsed=.*//' "$M/one/wait" 2>/dev/null || value one last_job | sed 's/ elapsed=.*//')
stop
sed -i '$d' "$S/tune/one/jobs.jsonl"
start
has "promoted, and dead before its end was written: it is done" "$(timeout 60 cat "$M/one/wait" | sed 's/ elapsed=.*//')" "$line"
same "exit" ok "$(cat "$M/one/jobs/$n/exit")"
same "nothing happened twice" "$before" "$(cat "$M/one/HEAD" "$M/one/head.prev" "$M/one/events" | grep -v recovered)"
ok "$BUILD/bin/kolm" --store "$S" fsck >/dev/null
finish
