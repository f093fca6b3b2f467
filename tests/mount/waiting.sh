#!/bin/bash
# One change, every way to hear of it, each within 50 ms (tail -f, which looks once a second by itself, within 1.5 s): poll, epoll, inotify, follow; and a job: wait, log.
. "$(dirname "$0")/lib.sh"
slug one
mkdir "$T/docs"
for n in $(seq 300); do echo "text $n of the refund policy" >"$T/docs/$n.txt"; done
start
timeout 100 python3 "$ROOT/tests/mount/waiting.py" "$M" >"$T/ways" 2>"$T/err" || fail "$(cat "$T/err")"
while read -r way ms; do
	case $way in tail-f) limit=5000 ;; *) limit=50 ;; esac
	awk -v a="$ms" -v b=$limit 'BEGIN { exit !(a < b) }' || fail "$way: $ms ms"
done <"$T/ways"
same "ways tried" 11 "$(wc -l <"$T/ways")"

# a job: the line of `wait`, and inotify on its log, come with its end
timeout 60 python3 - "$M" "$T/docs" <<'END' >>"$T/ways" 2>"$T/err" || fail "wait, log: $(cat "$T/err")"
import ctypes, os, select, statistics, sys, threading, time
rag, docs = os.path.join(sys.argv[1], 'rag'), sys.argv[2]
libc = ctypes.CDLL(None)
late, seen = [], []
for n in range(1, 6):
    fd = os.open(rag + '/ctl', os.O_WRONLY)
    os.write(fd, ('index %s name=docs\n' % docs).encode())
    os.close(fd)
    ino = libc.inotify_init1(os.O_CLOEXEC)
    assert libc.inotify_add_watch(ino, ('%s/jobs/%d/state' % (rag, n)).encode(), 2) >= 0
    got = {}
    th = threading.Thread(target=lambda: got.update(line=open(rag + '/wait').read(), at=time.monotonic()))
    th.start()
    while open('%s/jobs/%d/state' % (rag, n)).read() != 'done\n': pass
    done = time.monotonic()
    th.join(5)
    assert got['line'].startswith('%d index ok' % n), got
    late.append(got['at'] - done)
    assert select.select([ino], [], [], 2)[0], 'no inotify event on the state of job %d' % n
    os.close(ino)
print('wait %.1f' % (max(0, statistics.median(late)) * 1000))
END
awk '$1 == "wait" && $2 >= 50' "$T/ways" | grep . && fail "wait is late"
echo "ran: $(tr '\n' ' ' <"$T/ways")(ms)"
finish
