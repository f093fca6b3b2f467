#!/bin/bash
# bench-fs - what the file server costs, beside a bare libfuse server with the same names and bytes in the same run (BUILD; make bench-fs). Figures, never a test: what | must | reached.
. "$(dirname "$0")/../mount/lib.sh"
B=$T/bare
SLUGS=${SLUGS:-100} REVISIONS=${REVISIONS:-100}
[ -x "$BUILD/bench/fs_bare" ] && [ -x "$BUILD/bench/fs_cost" ] || die "$BUILD/bench is not built: make bench-fs"
row() { printf '| %-52s | %-22s | %-34s |\n' "$1" "$2" "$3"; }
at_most() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a <= b) }' && echo "" || echo ", MISSED"; }

slug one
mkdir "$T/docs" "$B"
for n in $(seq 200); do echo "document $n: our refund policy number $n, money back within $n days" >"$T/docs/$n.md"; done
for n in $(seq 50); do echo '{"input":"'$n'","output":"'$n'"}'; done >"$S/tune/one/captures.jsonl"
start
echo "index $T/docs name=docs" >"$M/rag/ctl" && timeout 20 cat "$M/rag/wait" >/dev/null || die "index"

# the bare server has the same bytes at the same names
mkdir -p "$T/copy/one" "$T/copy/rag/docs"
for f in one/HEAD one/status one/ctl; do cat "$M/$f" >"$T/copy/$f"; done
cat "$M/rag/docs/query?q=refund+policy" >"$T/copy/rag/docs/query"
# Both servers and the client on one processor: where the kernel puts each, and what waking another processor costs, is ten times what a server does. In a session of its own, as a
# server is: a kernel with autogroups shares a busy machine out among sessions
cpu=$(taskset -cp $$ | sed 's/.*[-, ]//')
taskset -acp "$cpu" "$(server_pid)" >/dev/null || die "taskset"
setsid taskset -c "$cpu" "$BUILD/bench/fs_bare" "$T/copy" "$B" &
soon test -e "$B/one/HEAD"
timeout 200 taskset -c "$cpu" "$BUILD/bench/fs_cost" "$M" "$B" one docs >"$T/costs" || die "fs_cost"
umount "$B"
# that one knows its answers, as the server does when it is asked again; this one searches for them, and the questions are new
setsid taskset -c "$cpu" "$BUILD/bench/fs_bare" "$T/copy" "$B" "$S/rag" docs "refund policy" &
soon test -e "$B/one/HEAD"
timeout 200 taskset -c "$cpu" "$BUILD/bench/fs_cost" queries "$M" "$B" docs >"$T/queries" || die "fs_cost"
umount "$B"
row what must reached
row --- --- ---
ratios() {
	while IFS=$'\t' read -r what ours bare ratio; do
		row "$what$1" "1.25 x bare" "$ratio x ($ours us, bare $bare us)$(at_most "$ratio" 1.25)"
	done
}
ratios "" <"$T/costs"
ratios ", bare searching too" <"$T/queries"

# a promotion where fsync costs nothing, and where it does: v1 is a copy of v0, digests and all
cat >"$T/promotions.sh" <<'END'
. "$ROOT/tests/mount/lib.sh"
. "$ROOT/tests/mount/model.bash"
echo 'function generate(input, lib) { return lib.lm ? lib.lm.choose(input, ["a", "b"]) : "a"; }' | artifact two
start
tuned two
cp -r "$S/tune/two/revisions/v0" "$S/tune/two/revisions/v1"
sleep 3.5 # digests are known of files that were left alone
python3 - "$M/two" <<'PY'
import os, sys, time
d = sys.argv[1]
fd = os.open(d + '/ctl', os.O_WRONLY)
took = []
for n in range(41):
    line = b'promote v%d force\n' % (open(d + '/HEAD').read() == 'v0\n')
    t = time.monotonic()
    os.write(fd, line)
    took.append(time.monotonic() - t)
print('%.2f' % (min(took) * 1000))
PY
stop
END
promotions() { TMPDIR=$1 ROOT=$ROOT bash "$T/promotions.sh" | tail -n 1; }
disk=$(promotions "$T")
stop
free=$(promotions /dev/shm)
row "a promotion, fsync free (tmpfs)" "5 ms" "$free ms$(at_most "$free" 5); with its fsyncs $disk ms"
set -- $("$BUILD/bench/fs_cost" append "$S" one | cut -f 2-3)
row "a capture append" "50 us and its lock" "$1 us, bare lock and write $2 us$(at_most "$1" "$(awk -v b="$2" 'BEGIN { print 50 + b }')")"

# 100 slugs, 10,000 revisions
for n in $(seq "$SLUGS"); do slug "s$n"; done
for n in $(seq "$SLUGS"); do
	for v in $(seq 2 $((REVISIONS - 1))); do cp -rl "$S/tune/s$n/revisions/v1" "$S/tune/s$n/revisions/v$v"; done
done
ready=$(for i in 1 2 3 4 5; do
	python3 -c "import subprocess, sys, time; t = time.monotonic(); subprocess.check_call(sys.argv[1:], close_fds=False); print('%.1f' % ((time.monotonic() - t) * 1000))" \
		"$KOLMFS" "$S" "$M" 2>>"$T/log" || die "start"
	stop
done | sort -n | sed -n 1p)
row "start to ready, $SLUGS slugs, $((SLUGS * REVISIONS)) revisions" "50 ms" "$ready ms$(at_most "$ready" 50)"
start
pid=$(server_pid)
find "$M" -path '*/revisions' -prune -o -type f -exec cat {} + >/dev/null
rss=$(awk '$1 == "VmRSS:" { printf "%.1f", $2 / 1024 }' "/proc/$pid/status")
row "RSS with $SLUGS slugs, after every file was read" "12 MiB" "$rss MiB$(at_most "$rss" 12)"
ticks() { cat /proc/"$pid"/task/*/schedstat | awk '{ n += $1 } END { print n / 1e6 }'; } # milliseconds on a processor, all threads
sleep 12 # workers go after ten idle seconds
a=$(ticks)
sleep 10
idle=$(awk -v a="$a" -v b="$(ticks)" 'BEGIN { printf "%.3f", (b - a) / 100 }')
row "idle" "0.0 %" "$(printf '%.1f' "$idle") % ($idle)$(at_most "$idle" 0.0499)"
stop
finish
