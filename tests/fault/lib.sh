# lib.sh - what the fault scripts share; sourced, never run for itself. bash.
#
# A script gets a folder of its own in memory ($D) with an artifact of rules ($D/shout.kolm) and a store ($D/store). SEED is printed by whoever uses it and
# replays a run; LONG=1 asks for the amounts of make check-long; PART=20 for a twentieth (make check).

[ "${BASH_SOURCE[0]}" = "$0" ] && exit 0
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
BUILD=$(realpath "${BUILD:-build}")
LONG=${LONG:-} PART=${PART:-1}
SEED=${SEED:-$((RANDOM * 32768 + RANDOM))}
D=$(mktemp -d /dev/shm/kolm-fault.XXXXXX) || exit 1
trap 'rm -rf "$D"' EXIT
trap 'exit 1' INT TERM
export BUILD SEED

# amount CHECK-FAULT CHECK-LONG
amount() {
	if [ -n "$LONG" ]; then echo "$2"; else echo $((($1 + PART - 1) / PART)); fi
}

# in_pieces AMOUNT SIZE COMMAND...: COMMAND n SEED FOLDER again and again, each with a seed and a copy of what make_shout made of its own, until AMOUNT is done: what a
# store keeps of each fault would make the next one slower. What they said goes to $D/said.
in_pieces() {
	local left=$1 size=$2 seed=$SEED n rc
	shift 2
	for (( ; left > 0; left -= n, seed++)); do
		n=$((left < size ? left : size))
		mkdir "$D/piece"
		cp -a "$D/store" "$D/shout.kolm" "$D/piece"
		"$@" "$n" "$seed" "$D/piece" >>"$D/said" || { rc=$?; cat "$D/said"; exit "$rc"; }
		rm -rf "$D/piece"
	done
}

make_shout() {
	mkdir -m 700 "$D/store"
	cat >"$D/spec.json" <<-'END'
	{"job_id":"job_shout","task":"shout it","base_model":"none","recipes":[{"id":"rcp_shout","name":"shouter",
	"source":"function generate(i) { return String(i).toUpperCase(); }"}],
	"evals":{"cases":[{"id":"one","input":"hi","expected":"HI"},{"id":"two","input":"a b","expected":"A B"},{"id":"three","input":"x","expected":"X"}]},
	"training_stats":{"latency_p50_us":60}}
	END
	KOLM_HOME=$D/store "$BUILD/bin/kolm" compile --spec "$D/spec.json" --out "$D/shout.kolm" >"$D/compile.log" || { cat "$D/compile.log"; exit 1; }
}
