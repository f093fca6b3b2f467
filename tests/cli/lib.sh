# lib.sh - what the command-line tests share; sourced, never run for itself. bash.
#
# A test gets a folder of its own ($T) which is also HOME, and the store $T/.kolm in it. It ends by `finish`: exit 0 passed, 1 failed (what differed is printed),
# 77 skipped (the reason is the last line).

[ "${BASH_SOURCE[0]}" = "$0" ] && exit 0

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$ROOT/$BUILD ;; esac
SHARED=${SHARED:-$ROOT/../shared}
MODEL=${MODEL:-${KOLM_MODELS:-$HOME/.cache/kolm-models}/SmolLM2-135M-Instruct-Q4_1.gguf}
COMPAT=$SHARED/data/compat
FAILED=0

skip() { echo "skipped: $*"; exit 77; }
die() { echo "$*"; exit 1; }

[ -x "$BUILD/bin/kolm" ] || die "$BUILD/bin/kolm is not built"
T=$(mktemp -d "${TMPDIR:-/tmp}/kolm-cli-test.XXXXXX") || die "no temporary folder"
trap 'rm -rf "$T"' EXIT
trap 'exit 1' INT TERM
export HOME=$T
unset KOLM_HOME KOLM_K_GATE RECIPE_RECEIPT_SECRET KOLM_ARTIFACT_SECRET
S=$T/.kolm
cd "$T" || die "cannot enter $T"

# run WORD...: the program; its answers stand in $OUT, $ERR and $RC
run() {
	"$BUILD/bin/kolm" "$@" >"$T/.out" 2>"$T/.err" </dev/null
	RC=$?
	OUT=$(cat "$T/.out")
	ERR=$(cat "$T/.err")
	LAST="kolm $*"
}

bad() {
	FAILED=$((FAILED + 1))
	printf '%s\n' "FAILED: $*" "  after: $LAST" "  exit $RC" "  stdout: ${OUT:0:600}" "  stderr: ${ERR:0:600}"
}

ends() { [ "$RC" -eq "$1" ] || bad "exit $1 expected"; }
says() { case $OUT in *"$1"*) ;; *) bad "stdout lacks: $1" ;; esac; }
says_line() { printf '%s\n' "$OUT" | grep -qxF -- "$1" || bad "no line of stdout is: $1"; }
says_like() { printf '%s\n' "$OUT" | grep -qE -- "$1" || bad "no line of stdout is like: $1"; }
errs() { case $ERR in *"$1"*) ;; *) bad "stderr lacks: $1" ;; esac; }
# fails CODE TEXT WORD...: the command ends with this code and this text on stderr, in the form of every error
fails() {
	local code=$1 text=$2
	shift 2
	run "$@"
	ends "$code"
	errs "error: [kolm"
	errs "$text"
}
# works TEXT WORD...
works() {
	local text=$1
	shift
	run "$@"
	ends 0
	says "$text"
}

# shout.kolm: a rule, three cases
make_shout() {
	cat >"$T/shout.spec.json" <<-'END'
	{"job_id":"job_shout","task":"shout it","base_model":"none","recipes":[{"id":"rcp_shout","name":"shouter",
	"source":"function generate(i) { if (i === 'die') throw new Error('no\u001b[2J'); return String(i).toUpperCase(); }"}],
	"evals":{"cases":[{"id":"one","input":"hi","expected":"HI"},{"id":"two","input":"a b","expected":"A B"},{"id":"three","input":"x","expected":"X"}]},
	"training_stats":{"latency_p50_us":60}}
	END
	run compile --spec "$T/shout.spec.json" --out "$T/shout.kolm"
	[ "$RC" -eq 0 ] || die "cannot compile: $ERR"
}

finish() {
	[ "$FAILED" -eq 0 ] || { echo "$FAILED checks failed"; exit 1; }
	exit 0
}
