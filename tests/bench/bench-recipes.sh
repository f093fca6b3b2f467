#!/bin/bash
# bench-recipes - what the walls around a recipe cost (BUILD; make bench-recipes). The recipe is a rule that does next to nothing. Figures, never a test: what | must | reached.
. "$(dirname "$0")/../mount/lib.sh"
cases() { # N
	for n in $(seq "$1"); do echo '{"id":"c'"$n"'","input":"case '"$n"'","expected":"CASE '"$n"'"}'; done
}
export KOLM_HOME=$S
for n in 15 215; do
	cases $n >"$T/cases.jsonl"
	echo '{"job_id":"job_r'$n'","task":"t","base_model":"none","recipes":[{"id":"r","name":"r","source":"function generate(i) { return i.toUpperCase(); }"}]}' >"$T/spec.json"
	"$BUILD/bin/kolm" compile --spec "$T/spec.json" --examples "$T/cases.jsonl" --out "$T/r$n.kolm" >"$T/log" 2>&1 || { cat "$T/log"; die "compile"; }
done
"$BUILD/bin/kolm" tune init "$T/r15.kolm" --base "$ROOT/tests/unit/data/peft/tiny" >"$T/log" 2>&1 || { cat "$T/log"; die "init"; }
start
python3 - "$BUILD/bin/kolm" "$T" "$M/r15" <<'END' || die "measuring"
import json, os, statistics, subprocess, sys, time
kolm, t, slug = sys.argv[1:]


def row(what, must, ms, beside=''):
    missed = '' if must is None or ms <= must else ', MISSED'
    print('| %-58s | %-7s | %-38s |' % (what, '%g ms' % must if must else '', '%.2f ms%s%s' % (ms, beside, missed)))


def took(*words):
    """the whole command, from fork to exit; a subprocess.run of Python itself costs about 1 ms of it"""
    start = time.monotonic()
    subprocess.run([kolm, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, close_fds=False)
    return (time.monotonic() - start) * 1e3


def many(n, *words):
    got = sorted(took(*words) for _ in range(n + 3))
    return statistics.median(got), ' (%.1f to %.1f)' % (got[0], got[-1])


def through_the_mount(n):
    """per call: open, write, read, close; less what runs.jsonl says the recipe took"""
    log = os.path.join(os.path.dirname(slug), 'logs', 'runs.jsonl')
    whole, over = [], []
    for i in range(n):
        start = time.monotonic()
        fd = os.open(slug + '/run', os.O_RDWR)
        os.write(fd, b'hello')
        assert os.read(fd, 100) == b'HELLO\n'
        os.close(fd)
        whole.append((time.monotonic() - start) * 1e3)
    with open(log) as f:
        own = [json.loads(line)['latency_us'] / 1e3 for line in f.read().splitlines()[-n:]]
    return [w - o for w, o in zip(whole, own)][5:], own


print('| %-58s | %-7s | %-38s |' % ('what', 'must', 'reached'))
print('| %s | %s | %s |' % ('---', '---', '---'))
row('cold `kolm run` of a rule', 30, *many(21, 'run', t + '/r15.kolm', 'hello', '--force'))
over, own = through_the_mount(300)
row('a run through the mount, warm, over the recipe\'s own time', 3, statistics.median(over), ' (p99 %.2f; own %.2f)' % (sorted(over)[len(over) * 99 // 100], statistics.median(own)))
few = many(21, 'eval', t + '/r15.kolm')
row('`kolm eval` of 15 cases', 100, *few)
lots = many(7, 'eval', t + '/r215.kolm')
row('a further case of it', 1, (lots[0] - few[0]) / 200)
row('`kolm verify`: no cell is started', None, *many(21, 'verify', t + '/r15.kolm'))
END
stop
finish
