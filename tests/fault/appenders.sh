# many processes append to one captures.jsonl and are killed; nothing acknowledged is lost
. tests/fault/lib.sh
make_shout
"$BUILD/fault/appenders" "$D/store" "$D/shout.kolm" "$([ -n "$LONG" ] && echo 64 || echo 32)" "$(amount 10000 100000)" "$SEED" || { echo "seed $SEED"; exit 1; }
