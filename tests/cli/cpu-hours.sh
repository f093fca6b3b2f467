#!/bin/bash
# trainer_cpu_hours of config.json: a trainer that uses more processor time is ended, and says so; without it nothing is counted.
. "$(dirname "$0")/lib.sh"

make_ask
config() { jq "$1" "$S/config.json" >c.json && cp c.json "$S/config.json"; }

printf '#!/bin/sh\nwhile :; do :; done\n' >spin.sh && chmod +x spin.sh
config ".workers = {ask: \"$T/spin.sh\"} | .trainer_cpu_hours = 0.0002"
from=$SECONDS
fails 4 'trainer used up its 0.0002 hours of processor time (trainer_cpu_hours in config.json)' tune step --artifact ask.kolm
[ $((SECONDS - from)) -lt 60 ] || bad "it took $((SECONDS - from)) s"
[ "$(ls "$S/tune/ask/revisions")" = v0 ] || bad "something was published"
grep -q '"event":"step_failed"' "$S/logs/tune.jsonl" || bad "step_failed is not logged"
for wrong in '"eight"' 0 -1 true; do
	config "del(.workers) | .trainer_cpu_hours = $wrong"
	fails 4 'trainer_cpu_hours: number above 0 expected' tune step --artifact ask.kolm
done
config '.trainer_cpu_hours = 8'
run tune step --artifact ask.kolm --epochs 1; ends 0
finish
