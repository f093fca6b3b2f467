# many processes append to one captures.jsonl, one of them killed every 10 ms; nothing acknowledged is lost. Again and again, until enough of them died.
. tests/fault/lib.sh
make_shout
writers=$([ -n "$LONG" ] && echo 64 || echo 32) rows=$(amount 10000 100000) wanted=$(amount 300 10000)
kills=0 acked=0 torn=0 n=0 first=$SEED
while [ "$kills" -lt "$wanted" ]; do
	rm -rf "$D/store"
	out=$("$BUILD/fault/appenders" "$D/store" "$D/shout.kolm" "$writers" "$rows" "$SEED") || { echo "$out"; echo "seed $SEED"; exit 1; }
	read -r a k t <<<"$(sed -n 's/^\([0-9]*\) rows acknowledged by [0-9]* processes, \([0-9]*\) kills: .* \([0-9]*\) torn$/\1 \2 \3/p' <<<"$out")"
	[ -n "$t" ] || { echo "not understood: $out"; exit 1; }
	kills=$((kills + k)) acked=$((acked + a)) torn=$((torn + t)) n=$((n + 1)) SEED=$((SEED + 1))
done
echo "$acked rows acknowledged by $writers processes in $n storms, $kills kills: 0 lost, 0 twice, 0 glued, $torn torn; seed $first"
