#!/bin/sh
# loop.sh MOUNTPOINT SLUG [ROWS.jsonl] - train on corrected rows, measure, promote if the gate lets it. Needs nothing but a shell.
# STEP="step epochs=1" in the environment changes how it trains.

[ $# -ge 2 ] || { echo "usage: loop.sh MOUNTPOINT SLUG [ROWS.jsonl]" >&2; exit 1; }
mnt=$1/$2
rows=$3

# A command is a line written to `ctl`. When the write fails, `error` beside it holds the sentence.
command() {
	echo "$1" 2>/dev/null > "$mnt/ctl" && return
	cat "$mnt/error" >&2
	return 1
}

# `wait` is read when the job is over: "12 step ok rev=v1 k=- pass=- elapsed=31.4"
job() {
	command "$1" || exit 1
	line=$(cat "$mnt/wait")
	echo "$line"
	case $line in *" ok "*) ;; *) exit 1 ;; esac
}

[ -z "$rows" ] || cat "$rows" >> "$mnt/captures.jsonl" || exit 1

job "${STEP:-step}"
rev=${line##* rev=}
rev=${rev%% *}

job "eval $rev"
echo "measured:" $(sed -n 's/^  "\(passed\|total\|k\)": \(.*\),$/\1 \2/p' "$mnt/revisions/$rev/eval.json")

if why=$(command "promote $rev" 2>&1); then
	echo "promoted $rev"
else
	case $why in
	*K_GATE*) echo "refused by the gate: $why" ;;
	*) echo "$why" >&2; exit 1 ;;
	esac
fi
echo "HEAD is $(cat "$mnt/HEAD")"

# `run` is written and then read on the same open file
exec 3<> "$mnt/run"
echo '{"text":"Hello, this is Maria Lopez, order 48213. Where is my parcel?"}' >&3
cat <&3
