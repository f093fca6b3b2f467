# half a million different inputs: a row that comes is counted, and not all of them again
. tests/mount/lib.sh
. tests/mount/model.bash
mood_artifact
start
tuned mood
python3 -c 'for n in range(530000): print("{\"input\":\"i%d\",\"output\":\"calm\"}" % n)' >"$S/tune/mood/captures.jsonl"
pid=$(server_pid)
used() { awk '{ print $14 + $15 }' "/proc/$pid/stat"; }
rows() { grep -c '^{"event":"watch_started","captures":53' "$M/mood/events"; }
before=$(used)
printf 'set watch.threshold_rows 1000000\nwatch on\n' >"$M/mood/ctl"
for _ in $(seq 600); do [ "$(rows)" = 0 ] || break; sleep 0.2; done
same "the watch counted" 1 "$(rows)"
once=$(($(used) - before)) # one count
# rows come for at least as long as that took
before=$(used)
ends=$((SECONDS + 4 + once / 50))
while [ $SECONDS -lt $ends ]; do
	echo '{"input":"one more","output":"calm"}' >>"$M/mood/captures.jsonl"
	sleep 0.3
done
more=$(($(used) - before))
[ $((more * 2)) -lt "$once" ] || fail "a count took $once ticks of processor time, $more went by while rows came"
echo '{"input":"the last","output":"calm"}' >>"$M/mood/captures.jsonl"
has "status knows each row" "$(cat "$M/mood/status")" "captures $(wc -l <"$S/tune/mood/captures.jsonl")"
stop
echo "ran: a count of 530,000 inputs took $once ticks of processor time; $more while rows came"
finish
