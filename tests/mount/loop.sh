#!/bin/bash
# The loop with a real model: init, eval, captured rows, step, eval beside HEAD, the gate, promote, rollback; what is refused on the way; and what is written down of it.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.bash"
mood_artifact
start
C=$M/mood/ctl
line='^[0-9]+ (step|eval|cycle) [a-z:0-9]+ rev=(v[0-9]+|-) k=([0-9]\.[0-9]{4}|-) pass=([0-9]+/[0-9]+|-) elapsed=[0-9]+\.[0-9]( error=.*)?$'
good() { # WHAT LINE PART...: a line of `wait` that says all of that
	[[ $2 =~ $line ]] || fail "$1: the line of wait is '$2'"
	local what=$1 said=$2
	shift 2
	for part; do has "$what" "$said" "$part"; done
}

# ---- init ----
poke "$M/ctl" - "init $T/mood.kolm base=$MODEL" ok
same "HEAD after init" v0 "$(cat "$M/mood/HEAD")"
no test -e "$M/mood/head.prev"
poke "$C" ENODATA step "no captures yet"                  # F09
poke "$C" ENOENT "eval v9" "no revision v9 (have v0"      # E04
poke "$C" ENOENT rollback "no prior head to roll back to" # E11
poke "$C" EALREADY "promote v0" "HEAD is v0 already"      # E10
poke "$C" ESRCH cancel "no job is running"
no timeout 2 cat "$M/mood/wait" # ENODATA: no job ever ran
keys="artifact base slug state job head prev latest revisions captures captures_teach captures_on gate_k_min gate_require_improvement k_head k_latest watch walls"
keys="$keys last_job gen torn salvaged dropped_oversize skipped answers_fixed progress"
same "keys of status" "$keys" "$(cut -d ' ' -f 1 "$M/mood/status" | tr '\n' ' ' | sed 's/ $//')"

# ---- the untouched base ----
has "reply to eval" "$(exec 7<>"$C"; echo eval v0 >&7; cat <&7)" "job 1"
good "eval v0" "$(cat "$M/mood/wait")" "1 eval ok rev=v0 k=" "pass=" "/12"
k0=$(value mood k_head)
same "k_head is that of the line" "$(printf %.4f "$k0")" "$(value mood last_job | sed 's/.* k=\([^ ]*\).*/\1/')"
same "eval.json of v0 stands alone" "v0 None 12" "$(jq -r '"\(.revision) \(.compared // "None") \(.cases | length)"' "$M/mood/revisions/v0/eval.json")"

# ---- rows, and a step that is cancelled ----
mood_rows 0 40 >>"$M/mood/captures.jsonl" || fail "appending rows"
same "rows that teach" "40 40" "$(value mood captures) $(value mood captures_teach)"
poke "$C" - "step epochs=1" "job 2"
poke "$C" EBUSY step "job 2 (step) is running"        # I19
poke "$C" EBUSY "promote v0 force" "job 2 (step) is running" # E13
poke "$C" EBUSY "eval" "job 2 (step) is running"
same "state" step "$(value mood state)"
within 60 grep -q '"event":"progress"' "$M/mood/log"
has "progress" "$(cat "$M/mood/jobs/2/progress")" " 10 steps"
poke "$C" - cancel ok
good "the cancelled step" "$(cat "$M/mood/wait")" "2 step cancelled rev=-" "error=cancelled"
same "exit of the job" cancelled "$(cat "$M/mood/jobs/2/exit")"
same "no revision is left" v0 "$(ls "$M/mood/revisions" | tr '\n' ' ' | sed 's/ $//')"

# ---- a step that ends ----
done_line=$(job mood "step epochs=1")
good step "$done_line" "3 step ok rev=v"
v=$(echo "$done_line" | sed 's/.*rev=\([^ ]*\).*/\1/')
same "its revision" "$v" "$(value mood latest)"
same "its verb" "step epochs=1" "$(cat "$M/mood/jobs/3/verb")"
same "rows.jsonl" "40 prompt system answer row call" "$(jq -sr '"\(length) \(.[0] | keys_unsorted | join(" "))"' "$M/mood/jobs/3/rows.jsonl")"
same "train.json" "v0 40 42 1 mood" "$(jq -r '"\(.from) \(.rows_used) \(.seed) \(.epochs) mood"' "$M/mood/revisions/$v/train.json")"
same "files.json tells the truth" "" "$(cd "$M/mood/revisions/$v" && jq -r '.files[] | "\(.sha256)  \(.name)"' files.json | sha256sum -c 2>&1 | grep -v ': OK$')"

# ---- the gate ----
poke "$C" ERANGE "promote $v" "K_GATE: $v has no eval" # E05
same "HEAD did not move" v0 "$(cat "$M/mood/HEAD")"
has "gate_blocked" "$(tail -n 1 "$M/mood/events")" '{"event":"gate_blocked","revision":"'"$v"'","k":null,"gate":0.85'
good eval "$(job mood "eval $v")" "eval ok rev=$v" "/12"
same "measured beside HEAD" v0 "$(jq -r .compared.revision "$M/mood/revisions/$v/eval.json")"
same "every wall was proven" "in force" "$(jq -r '[.walls[]] | unique | join(",")' "$M/mood/revisions/$v/eval.json")"
same "nobody reached for the network" 0 "$(jq .egress "$M/mood/revisions/$v/eval.json")"
k1=$(jq .k "$M/mood/revisions/$v/eval.json")
[ "$(jq .passed "$M/mood/revisions/$v/eval.json")" -gt "$(jq .passed "$M/mood/revisions/v0/eval.json")" ] || fail "nothing was learned: $(value mood last_job)"
if echo "promote $v" 2>/dev/null >"$C"; then
	awk "BEGIN { exit !($k1 >= 0.85) }" || fail "promoted with K $k1"
else
	has "why not" "$(cat "$M/mood/error")" "K_GATE: "
	awk "BEGIN { exit !($k1 < 0.85 || $k1 < $k0) }" || fail "K $k1 was refused"
	poke "$C" - "promote $v force" ok
fi
same "HEAD and head.prev" "$v v0" "$(cat "$M/mood/HEAD") $(cat "$M/mood/head.prev")"
poke "$C" ENODATA step "no captures yet that teach something new"
has "the event" "$(tail -n 1 "$M/mood/events")" '{"event":"promoted","revision":"'"$v"'","previous":"v0","k":'

# a gate nobody can pass: E07
poke "$C" - "set gate.k_min 0.9999" ok
mv "$M/mood/head.prev" "$M/mood/HEAD" || fail "mv head.prev HEAD"
poke "$C" ESTALE "promote $v" "eval is out of date: the gate settings changed" # E06
good "eval again" "$(job mood "eval $v")" "eval ok"
poke "$C" ERANGE "promote $v" "K_GATE: 0." # E07
has "and the gate" "$(cat "$M/mood/error")" " < 0.9999"
has "gate_blocked" "$(tail -n 1 "$M/mood/events")" '{"event":"gate_blocked","revision":"'"$v"'","k":0.'
poke "$C" ERANGE "set gate.k_min 1.1" "gate: number from 0 to 1" # E09

# ---- rollback is a rename ----
same "rolled back" "v0 $v" "$(cat "$M/mood/HEAD") $(cat "$M/mood/head.prev")"
mv "$M/mood/head.prev" "$M/mood/HEAD" || fail "the second mv"
same "and forward" "$v v0" "$(cat "$M/mood/HEAD") $(cat "$M/mood/head.prev")"
poke "$C" - "rollback id=r1" ok
poke "$C" - "rollback id=r1" ok
poke "$C" EINVAL "promote $v force id=r1" 'id "r1" was rollback already'
same "the verb does the same" "v0 $v" "$(cat "$M/mood/HEAD") $(cat "$M/mood/head.prev")"
has "the event" "$(tail -n 1 "$M/mood/events")" '{"event":"rolled_back","revision":"v0","previous":"'"$v"'"'

# ---- what is written down ----
python3 - "$M/logs/tune.jsonl" "$M/mood/events" mood <<'END' || fail "tune.jsonl"
import hashlib, json, sys
whole = open(sys.argv[1], 'rb').read()
before, mine = b'', b''
for n, line in enumerate(whole.split(b'\n')[:-1], 1):
    o = json.loads(line)
    assert o['seq'] == n, 'seq %r in line %d' % (o['seq'], n)
    assert o['prev'] == hashlib.sha256(before).hexdigest(), 'chain breaks at line %d' % n
    assert list(o)[0] == 'event' and list(o)[-6:] == ['slug', 'ts', 'job', 'by', 'seq', 'prev'], 'keys of line %d: %s' % (n, list(o))
    assert list(o['by']) == ['uid', 'pid', 'comm'], o['by']
    before = line
    if o['slug'] == sys.argv[3]:
        mine += line + b'\n'
assert mine == open(sys.argv[2], 'rb').read(), 'events are not the lines of the slug'
END
same "jobs" "1 2 3 4 5" "$(ls "$M/mood/jobs" | sort -n | tr '\n' ' ' | sed 's/ $//')"
finish
