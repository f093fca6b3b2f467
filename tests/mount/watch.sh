#!/bin/bash
# The watch: rows that nobody trained on reach the threshold, and step, eval and the gate follow by themselves; counted across a restart of the server. FORMATS 9.5.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/model.bash"
mood_artifact
start
tuned mood
C=$M/mood/ctl
E=$M/mood/events
# events NAME: how often
events() { grep -c '^{"event":"'"$1"'"' "$E"; }
seen() { [ "$(events "$1")" -ge "$2" ]; }

poke "$C" ERANGE "set watch.threshold_rows 0" "threshold_rows: 1 to 1000000" # G03
poke "$C" - "set watch.threshold_rows 20" ok
mood_rows 0 10 >>"$M/mood/captures.jsonl"
poke "$C" - "watch on" ok
within 10 seen watch_started 1
has "watch_started" "$(cat "$E")" '{"event":"watch_started","captures":10,"threshold":20,'
has "status" "$(cat "$M/mood/status")" "watch on threshold=20"
mood_rows 10 19 >>"$M/mood/captures.jsonl"

# the server ends and another begins: the rows are not forgotten, and 19 are not yet enough
stop
start
within 10 seen watch_started 2
has "watch_started again" "$(cat "$E")" '{"event":"watch_started","captures":19,"threshold":20,'
mood_rows 19 20 >>"$M/mood/captures.jsonl"
within 10 seen step_triggered 1
within 10 test -e "$M/mood/jobs/1/verb" # the line comes before its job
same "fired at twenty" 1 "$(grep -c '^{"event":"step_triggered","captures":20,' "$E")"
line=$(timeout "${PATIENCE:-100}" cat "$M/mood/wait")
[[ $line =~ ^1\ cycle\ (ok|gate)\ rev=v1\ k=0\.[0-9]{4}\ pass=[0-9]+/12\ elapsed= ]] || fail "the line of wait is '$line'"
same "verb" cycle "$(cat "$M/mood/jobs/1/verb")"
same "the rows of train.json" "20 20 3" "$(jq -r '"\(.captures.rows) \(.rows_used) \(.epochs)"' "$M/mood/revisions/v1/train.json")"
python3 - "$E" "$M/mood/HEAD" "$line" <<'END' || fail "events"
import json, sys
fields = {'step_triggered': ['captures'], 'step_complete': ['revision', 'elapsed_sec'], 'eval_complete': ['revision', 'k', 'accuracy'],
          'promoted': ['revision', 'previous', 'k'], 'gate_blocked': ['revision', 'k', 'gate']}
lines = [json.loads(l) for l in open(sys.argv[1])]
lines = [l for l in lines if l['event'] in fields]
assert [l['event'] for l in lines[:3]] == ['step_triggered', 'step_complete', 'eval_complete'] and len(lines) == 4, lines
for l in lines:
    assert list(l)[:1 + len(fields[l['event']])] == ['event'] + fields[l['event']], l
    assert l.get('revision', 'v1') == 'v1', l
    assert isinstance(l.get('k', 0.5), float) and l['job'] == (None if l['event'] == 'step_triggered' else 1), l
passed = lines[3]['event'] == 'promoted'
assert passed == (' ok ' in sys.argv[3]), sys.argv[3]
assert open(sys.argv[2]).read() == ('v1\n' if passed else 'v0\n')
END

# trained rows do not count again, whatever the gate said, and after a restart neither
mood_rows 20 25 >>"$M/mood/captures.jsonl"
stop
start
within 10 seen watch_started 3
has "watch_started" "$(tail -n 1 "$E")" '{"event":"watch_started","captures":25,"threshold":20,'
poke "$C" - "watch off" ok
has "watch_stopped" "$(tail -n 1 "$E")" '{"event":"watch_stopped",'
same "nothing more was fired" 1 "$(events step_triggered)"

# switched on while a job runs: it begins when that is over, though no row and no setting changes any more
poke "$C" - "step rows=all" "job 2"
poke "$C" - "watch on" ok
sleep 2.5 # two looks
same "not while it runs" 3 "$(events watch_started)"
poke "$C" - "cancel" ok
timeout "${PATIENCE:-100}" cat "$M/mood/wait" >/dev/null
within 10 seen watch_started 4
poke "$C" - "watch off" ok
same "idle" "idle off" "$(value mood state) $(value mood watch)"

# what keeps it from counting is told, once, with the reason
cp "$T/mood.kolm" "$T/kept"
printf x >>"$T/mood.kolm"
poke "$C" - "watch on" ok
within 10 seen tick_error 1
has "tick_error" "$(grep tick_error "$E")" '{"event":"tick_error","error":"'
poke "$C" - "watch off" ok
cp "$T/kept" "$T/mood.kolm"
same "still alive" "idle off" "$(value mood state) $(value mood watch)"
finish
