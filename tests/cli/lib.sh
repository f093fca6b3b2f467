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

# make_kind: kind.kolm, a choice of two, two cases; only lib.lm knows
make_kind() {
	cat >kind.spec.json <<-'END'
	{"job_id":"job_kind","task":"fruit or animal","base_model":"none","recipes":[{"id":"rcp_kind","name":"kind",
	"source":"function generate(i, lib) { if (!lib.lm) return 'no model'; return lib.lm.choose('Is this a fruit or an animal? ' + i, ['fruit', 'animal']); }"}],
	"evals":{"cases":[{"id":"a","input":"plum","expected":"fruit"},{"id":"b","input":"otter","expected":"animal"}]}}
	END
	works 'built:' compile --spec kind.spec.json --out kind.kolm --allow-below-gate
}

# make_ask: ask.kolm with four rows to learn from, on the smallest base
make_ask() {
	cat >ask.spec.json <<-'END'
	{"job_id":"job_ask","task":"t","base_model":"none","recipes":[{"id":"r","name":"n","source":"function generate(i, lib) { return lib.lm ? lib.lm.choose(i, ['a', 'b']) : 'a'; }"}],
	"evals":{"cases":[{"id":"a","input":"x","expected":"a"}]}}
	END
	run compile --spec ask.spec.json --out ask.kolm --allow-below-gate; ends 0
	run tune init --artifact ask.kolm --base "$ROOT/tests/unit/data/peft/tiny"; ends 0
	for n in 1 2 3 4; do echo '{"input":"'$n'","output":"b"}'; done >>"$S/tune/ask/captures.jsonl"
}

# paint [NAME=VALUE...] -- WORD...: what kolm WORD... shows on a terminal; ^ for the escape, | for a carriage return that ends no line
paint() {
	python3 - "$BUILD/bin/kolm" "$@" <<-'END'
	import os, pty, sys
	words = sys.argv[2:]
	at = words.index('--')
	os.environ.pop('NO_COLOR', None)
	os.environ['TERM'] = 'xterm'
	os.environ.update(w.split('=', 1) for w in words[:at])
	pid, fd = pty.fork()
	if pid == 0:
	    os.execv(sys.argv[1], [sys.argv[1]] + words[at + 1:])
	out = b''
	while True:
	    try:
	        part = os.read(fd, 65536)
	    except OSError:
	        break
	    if not part:
	        break
	    out += part
	os.waitpid(pid, 0)
	sys.stdout.write(out.decode().replace('\r\n', '\n').replace('\033', '^').replace('\r', '|'))
	END
}

finish() {
	[ "$FAILED" -eq 0 ] || { echo "$FAILED checks failed"; exit 1; }
	exit 0
}
