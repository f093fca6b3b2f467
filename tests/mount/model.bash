# model.bash - for the tests that play the loop with a real base model: artifacts made here, slugs made of them, jobs. Sourced after lib.sh.

MODEL=${MODEL:-$HOME/.cache/kolm-models/SmolLM2-135M-Instruct-Q4_1.gguf}
[ -f "$MODEL" ] || skip "no base model at $MODEL (tools/get-model fetches it; MODEL= names another)"
MODEL=$(realpath "$MODEL")

# artifact NAME <RECIPE-SOURCE: $T/NAME.kolm of that recipe and of $T/NAME.cases (JSON lines; one that says little when there is none)
artifact() {
	local d=$T/src/$1 n
	mkdir -p "$d"
	cat >"$d/recipe.js"
	if [ -f "$T/$1.cases" ]; then cp "$T/$1.cases" "$d/cases.jsonl"; else
		for n in 1 2 3 4 5; do echo '{"id":"c'$n'","input":"case '$n'","expected":"case '$n'"}'; done >"$d/cases.jsonl"
	fi
	cat >"$d/spec.json" <<-END
	{"job_id":"job_$1","task":"a test of the mount","base_model":"none","recipes":[{"id":"rcp_$1","name":"$1","source_file":"recipe.js"}],"comparator":"exact"}
	END
	"$BUILD/bin/kolm" --store "$S" compile --spec "$d/spec.json" --examples "$d/cases.jsonl" --out "$T/$1.kolm" --allow-below-gate \
		>"$T/compile.log" 2>&1 || { cat "$T/compile.log"; die "$1.kolm did not compile"; }
}

# tuned NAME [OPTION...]: a slug of $T/NAME.kolm, through the mount
tuned() {
	local name=$1
	shift
	echo "init $T/$name.kolm base=$MODEL $*" >"$M/ctl" || { cat "$M/error"; die "init of $name was refused"; }
}

# ask SLUG INPUT: one run; the answer, or nothing and false with the sentence in `error`
ask() {
	local rc
	exec 5<>"$M/$1/run" || return 1
	printf '%s\n' "$2" >&5 && cat <&5 2>/dev/null
	rc=$?
	exec 5>&-
	return $rc
}

# job SLUG COMMAND: write it, wait for its job, say the line of `wait`
job() {
	echo "$2" >"$M/$1/ctl" || { echo "refused: $(cat "$M/$1/error")"; return 1; }
	timeout "${PATIENCE:-120}" cat "$M/$1/wait"
}

value() { awk -v k="$2" '$1 == k { sub(/^[^ ]+ /, ""); print }' "$M/$1/status"; }

# within SECONDS COMMAND...: becomes true in that time
within() {
	local until=$((SECONDS + $1))
	shift
	while ! "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $until ] || { fail "did not become true: $*"; return 1; }
		sleep 0.1
	done
}

# the feelings of short messages: what is quick to learn. mood_rows FROM TO prints training rows, in FORMATS' form
mood_artifact() {
	python3 "$ROOT/tests/mount/mood.py" cases >"$T/mood.cases"
	artifact mood <<-'END'
	const MOODS = ["happy", "angry"];
	function generate(input, lib) {
		if (!lib.lm) return { mood: "?" };
		return { mood: lib.lm.choose(input.text + " How do I feel?", MOODS) };
	}
	END
}
mood_rows() { python3 "$ROOT/tests/mount/mood.py" rows "$1" "$2"; }
