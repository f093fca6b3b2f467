#!/bin/bash
# A slug that is removed and made again with the watch on, between two looks of the watch: it is another slug, and what was known of the one before is not true of it.
. "$(dirname "$0")/lib.sh"
slug one
D=$S/tune/one
started() { [ "$(grep -c '"event":"watch_started"' "$S/logs/tune.jsonl")" -ge "$1" ]; }
again() { # TIME: another slug of this name, in one go
	cp -a "$D" "$S/tune/.again"
	jq --arg at "$1" '.created_at = $at' "$D/tune-config.json" >"$S/tune/.again/tune-config.json"
	python3 -c "import os, sys; os.rename(sys.argv[1], sys.argv[2]); os.rename(sys.argv[3], sys.argv[1])" "$D" "$T/gone$1" "$S/tune/.again"
}

start
ok sh -c "echo 'watch on' >'$M/one/ctl'"
soon started 1
again 2026-01-01T00:00:00.000Z
soon started 2
again 2026-01-02T00:00:00.000Z
soon started 3
# and one that stays is told of once
jq '.rank = 4' "$D/tune-config.json" >"$D/.new" && mv "$D/.new" "$D/tune-config.json"
sleep 1.5
same "watch_started of one that stays" 3 "$(grep -c '"event":"watch_started"' "$S/logs/tune.jsonl")"
stop
finish
