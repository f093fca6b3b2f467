#!/bin/bash
# compile, verify, inspect, run, eval of a small rule artifact.
. "$(dirname "$0")/lib.sh"

make_shout
says "built:      $T/shout.kolm"; says_like '^bytes: +[0-9]+$'; says_like '^sha256: +[0-9a-f]{64}$'
says_like '^K-score for shout.kolm: 0\.9[0-9]+  \(gate >= 0\.85 - pass\)$'; says_line 'production_ready: false'; says_line 'evals:     3 / 3 cases pass'
before=$(sha256sum shout.kolm)

works 'verdict: warn' verify shout.kolm
works '"verdict": "warn"' verify shout.kolm --json
works 'signature:  valid (hmac-local)' inspect shout      # .kolm is tried behind the name
works '"job_id": "job_shout"' inspect shout.kolm --json

run run shout.kolm 'hello there'; ends 0; [ "$OUT" = 'HELLO THERE' ] || bad "output"; errs 'recipe: shouter  ·  '; errs 'is not production ready'
run run shout.kolm hi --force; ends 0; case $ERR in *production*) bad "--force did not silence" ;; esac
run run shout.kolm hi --strict; ends 2; [ -z "$OUT" ] || bad "--strict ran it"
works '"output": "5"' run shout.kolm 5 --json
run run shout.kolm '{"a": 1}'; ends 0; says '[OBJECT OBJECT]'
printf 'from a file\n' >in.txt
works 'FROM A FILE' run shout.kolm --input in.txt
works 'FROM A FILE' run shout.kolm --input @in.txt
OUT=$(printf 'piped\n' | "$BUILD/bin/kolm" run shout.kolm 2>/dev/null); RC=$?; LAST='run from stdin'; ends 0; [ "$OUT" = PIPED ] || bad "stdin"
OUT=$(printf 'piped\n' | "$BUILD/bin/kolm" run shout.kolm --input - 2>/dev/null); RC=$?; LAST='run --input -'; ends 0; [ "$OUT" = PIPED ] || bad "--input -"
works 'NULL' run shout.kolm ''
run run shout.kolm hi --params '{bad'; ends 2; errs '--params: JSON:'
fails 4 'recipe threw:' run shout.kolm die; errs '"code":'; errs '\x1b[2J'; errs '"id": "rcp_shout",'; errs '"stage": "run",'
case $ERR in *$'\033'*) bad "an escape went to the terminal" ;; esac
[ "$(grep -c '"ok":true' "$S/logs/runs.jsonl")" -ge 6 ] || bad "runs.jsonl lacks runs"
[ "$(grep -c '"ok":false' "$S/logs/runs.jsonl")" -eq 1 ] || bad "runs.jsonl lacks the failed run"

runs=$(wc -l <"$S/logs/runs.jsonl")
run eval shout.kolm; ends 0; says_line 'eval: shout.kolm'; says_line '  passed:    3 / 3  (100.0%)'; says_like '^  p50_lat:   [0-9]+us$'; says_line '  failures:  none'
works 'pass  two' eval shout.kolm --trace
cat >other.jsonl <<'END'
{"id":"good","input":"q","output":"Q"}

{"input":"q","expected":"no"}
{"id":"dies","input":"die","expected":"DIE"}
END
run eval shout.kolm --examples other.jsonl; ends 0; says_line '  passed:    1 / 3  (33.3%)'; says_line '  failures:  2'; says 'user_3  expected no  got Q'; says 'dies  error: recipe threw'
run eval shout.kolm --examples other.jsonl --json; ends 0; says '"passed": 1'; says '"accuracy": 0.3333'; says '"source": "other.jsonl"'
[ "$(wc -l <"$S/logs/runs.jsonl")" -eq "$runs" ] || bad "eval was logged as a run"
# a slug that is not this artifact's: nothing is measured in its place
fails 5 'slug "other" is not initialised with this artifact' eval shout.kolm --slug other
fails 5 'slug "other" is not initialised with this artifact' run shout.kolm hi --slug other

# the default place, and artifacts found by name there
works "built:      $S/artifacts/job_shout.kolm" compile --spec shout.spec.json
works 'HI' run job_shout hi
mkdir out
run compile --spec shout.spec.json --out out; ends 0; [ -f out/job_shout.kolm ] || bad "--out DIR"

# the gate and bad specs; what stood there before is still there
sed 's/"expected":"[A-Z ]*"/"expected":"wrong"/g' shout.spec.json >low.spec.json
fails 2 'K_GATE: ' compile --spec low.spec.json --out shout.kolm
[ "$(sha256sum shout.kolm)" = "$before" ] || bad "a refused build changed the file"
run compile --spec low.spec.json --out low.kolm --allow-below-gate; ends 0; says ' - fail)'; says_line 'evals:     0 / 3 cases pass'
run compile --spec shout.spec.json --out high.kolm --gate 0.999; ends 2; says 'gate >= 0.999 - fail'
KOLM_K_GATE=0.999 run compile --spec shout.spec.json --out high.kolm; ends 2
works '"gate_pass": true' compile --spec shout.spec.json --out high.kolm --json
# a measurement's own store lies below TMPDIR, however long that is
mkdir -p "$T/$(printf '%0100d' 0)"
TMPDIR=$T/$(printf '%0100d' 0) works 'built:' compile --spec shout.spec.json --out based.kolm --base "$ROOT/tests/unit/data/peft/tiny"
TMPDIR=$T/nowhere fails 4 'cannot make a folder below' compile --spec shout.spec.json --out based.kolm --base "$ROOT/tests/unit/data/peft/tiny"; errs 'No such file'
# a base that is not there, or is none: the sentence says so
fails 3 'base model not found: "nothing.gguf"' compile --spec shout.spec.json --out based.kolm --base nothing.gguf
fails 3 'base model not found: "nowhere/at.gguf"' compile --spec shout.spec.json --out based.kolm --base nowhere/at.gguf
fails 4 'airgap: base must be a local path' compile --spec shout.spec.json --out based.kolm --base http://x/y
fails 4 'not a GGUF file' compile --spec shout.spec.json --out based.kolm --base shout.spec.json
echo '{"job_id":"x"}' >bad.json; fails 4 'job_id' compile --spec bad.json --out bad.kolm
echo '{"job_id":' >cut.json; fails 1 'spec is not JSON' compile --spec cut.json --out bad.kolm
[ ! -e bad.kolm ] || bad "a failed build left a file"
[ -z "$(find . -path ./.kolm -prune -o -name '*probe*' -print -o -name '.*.tmp*' -print)" ] || bad "temporary names are left"

# an attempt to reach the network fails the run, the whole eval and the build; an endless loop is stopped
cat >net.spec.json <<'END'
{"job_id":"job_net","task":"t","base_model":"none","recipes":[{"id":"rcp_n","name":"n","source":"function generate(i) { if (i === 'spin') while (true) {} if (i === 'net') { try { fetch('http://127.0.0.1'); } catch (e) {} } return i; }"}],
"evals":{"cases":[{"id":"a","input":"x","expected":"x"}]}}
END
run compile --spec net.spec.json --out net.kolm; ends 0
fails 4 'egress attempt' run net.kolm net
fails 4 'stopped after 1000 ms' run net.kolm spin
errs KOLM_E_RECIPE_TIMEOUT
# D16: an engine that crashes under a recipe. Its code is overwritten from outside: a cell is the first process of its namespace and takes no signal but SIGKILL
crash() { # COMMAND OF kolm...: the one cell of it
	"$BUILD/bin/kolm" "$@" >"$T/.out" 2>"$T/.err" </dev/null &
	python3 - $! <<-'END'
	import os, re, sys, time
	def below(pid, name):
	    for _ in range(1000):
	        for child in open('/proc/%d/task/%d/children' % (pid, pid)).read().split():
	            if open('/proc/%s/comm' % child).read() == name + '\n':
	                return int(child)
	        time.sleep(0.005)
	cell = below(below(int(sys.argv[1]), 'kolm-spawner'), 'kolm-cell')
	ticks = lambda: sum(map(int, open('/proc/%d/stat' % cell).read().rsplit(') ', 1)[1].split()[11:13]))
	while ticks() < 20:  # until it computes
	    time.sleep(0.005)
	with open('/proc/%d/maps' % cell) as f:
	    places = [[int(x, 16) for x in line.split()[0].split('-')] for line in f if re.search(r' r-xp .*javascriptcore', line)]
	mem = os.open('/proc/%d/mem' % cell, os.O_WRONLY)
	for a, b in places:  # hlt, which only a kernel may
	    os.pwrite(mem, b'\xf4' * (b - a), a)
	END
	wait $!
	RC=$? OUT=$(cat "$T/.out") ERR=$(cat "$T/.err") LAST="kolm $*, its engine crashed"
}
if [ "$(id -u)" = 0 ]; then
	for _ in 1 2 3 4 5; do # on a busy machine the recipe's second may be over before
		crash run net.kolm spin 2>/dev/null
		case $ERR in *'stopped after 1000 ms'*) ;; *) break ;; esac
	done
	ends 4; errs 'recipe cell died (signal 11)'
fi
echo '{"input":"x","expected":"x"}' >net.jsonl; echo '{"input":"net","expected":"net"}' >>net.jsonl
fails 4 'egress attempt' eval net.kolm --examples net.jsonl
sed 's/"input":"x","expected":"x"/"input":"net","expected":"net"/' net.spec.json >net2.spec.json
fails 4 'egress attempt' compile --spec net2.spec.json --out net2.kolm
[ ! -e net2.kolm ] || bad "an artifact was built"

# damaged, links, folders
head -c 2000 shout.kolm >cut.kolm; fails 4 'error: [kolm run]' run cut.kolm hi; run verify cut.kolm; ends 4; says 'verdict: fail'
ln -s shout.kolm link.kolm; fails 4 'symbolic link' run link.kolm hi
mkdir dir.kolm; fails 4 'not a regular file' run dir.kolm hi
[ "$(sha256sum shout.kolm)" = "$before" ] || bad "the artifact changed"
finish
