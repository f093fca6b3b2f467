#!/bin/bash
# 10,000 commands, 100,000 query names (10,000 unless ALL=1), 1,000 open/close cycles of each kind of file, artifact and job folders walked: descriptors, memory and the kernel's
# inodes come back to where they were. Long logs and journals are not read again for each line. Removed slugs leave no memory.
. "$(dirname "$0")/lib.sh"
slug one
mkdir "$T/docs"
for n in $(seq 40); do echo "document $n about refunds" >"$T/docs/$n.txt"; done
start
echo "index $T/docs name=docs" >"$M/rag/ctl" && timeout 30 cat "$M/rag/wait" >/dev/null || die index
# a sanitizer keeps what was freed, to see it used
export KIB=2048
case $BUILD in *-san) KIB=1000000 ;; esac
timeout 220 python3 - "$M" "$(server_pid)" "${ALL:+100000}" <<'END' || fail "limits"
import os, sys, time
m, pid, names = sys.argv[1], sys.argv[2], int(sys.argv[3] or 10000)
fds = lambda: len(os.listdir('/proc/%s/fd' % pid))
rss = lambda: int(open('/proc/%s/statm' % pid).read().split()[1]) * 4
slab = None


def inodes():
    """fuse_inode objects of the whole machine; None where nobody may look"""
    try:
        for line in open('/proc/slabinfo'):
            if line.startswith('fuse_inode'):
                return int(line.split()[1])
    except OSError:
        pass
    return None


def commands(n):
    fd = os.open(m + '/one/ctl', os.O_RDWR)
    for i in range(n):
        try:
            os.write(fd, b'# a comment\n' if i % 3 else b'bogus %d\n' % i)
        except OSError:
            pass
        if i % 100 == 0:
            os.pread(fd, 4096, 0)
    os.close(fd)
    for i in range(n // 100):  # and some that change something
        with open(m + '/one/ctl', 'wb', buffering=0) as f:
            f.write(b'capture %s\n' % (b'on' if i % 2 else b'off'))


def queries(n):
    for i in range(n):
        with open(m + '/rag/docs/query?q=refunds+%d&k=1' % i, 'rb', buffering=0) as f:
            f.read()
    for i in range(n // 10):  # looked at and never opened
        os.stat(m + '/rag/docs/query?q=refunds+never+%d' % i)


def cycles(n):
    files = [os.path.join(at, f) for at, _, names in os.walk(m) for f in names]
    for i in range(n):
        for path in files if i % 100 == 0 else files[i % len(files):][:1]:
            fd = os.open(path, os.O_RDONLY)
            os.read(fd, 4096)
            os.close(fd)
    for i in range(n):
        fd = os.open(m + '/one/follow', os.O_RDONLY | os.O_NONBLOCK)
        os.close(fd)
        fd = os.open(m + '/one/captures.jsonl', os.O_WRONLY)
        os.close(fd)


def settle(what, before):
    """to where it was: descriptors exactly, 2 MiB of memory, 300 inodes"""
    for _ in range(300):
        now = fds(), rss(), inodes()
        if now[0] <= before[0] and now[1] < before[1] + int(os.environ['KIB']) and (now[2] is None or now[2] < before[2] + 300):
            print('ran: %s: descriptors %d -> %d, %d -> %d KiB, fuse inodes %s -> %s' % (what, before[0], now[0], before[1], now[1], before[2], now[2]), flush=True)
            return
        time.sleep(0.05)
    raise SystemExit('%s: descriptors, KiB, inodes were %s, are %s' % (what, before, now))


commands(300), queries(600), cycles(100)  # what is kept for good is there now
time.sleep(0.5)
for what, fn, n in (('commands', commands, 10000), ('query names', queries, names), ('open and close', cycles, 1000)):
    before = fds(), rss(), inodes()
    t = time.monotonic()
    fn(n)
    settle('%d %s in %.1f s' % (n, what, time.monotonic() - t), before)
END
# a status does not read the journal again that it knows
python3 - "$M" "$S/rag/jobs.jsonl" <<'END' || fail "the journal is read for each status"
import ctypes, os, select, sys
libc = ctypes.CDLL(None)
ino = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
open(sys.argv[1] + '/status').read()
assert libc.inotify_add_watch(ino, sys.argv[2].encode(), 0x20) >= 0  # IN_OPEN
for _ in range(100):
    assert 'jobs_running 0' in open(sys.argv[1] + '/status').read()
assert not select.select([ino], [], [], 0)[0]
open(sys.argv[1] + '/rag/ctl', 'w').write('remove docs')
END
# the events of a log of 20 MB are neither kept nor, when a line comes, read again
python3 - "$M/one/events" "$S/logs/tune.jsonl" "$(server_pid)" <<'END' || fail "events of a long log"
import os, sys
events, log, pid = sys.argv[1:]
rss = lambda: int(open('/proc/%s/statm' % pid).read().split()[1]) * 4
read = lambda: int(open('/proc/%s/io' % pid).read().split()[1])
mine = lambda: b''.join(x for x in open(log, 'rb') if b'"slug":"one"' in x)
os.stat(events)
before = most = rss()
with open(log, 'ab', buffering=0) as f:
    f.write(b''.join(b'{"event":"e","n":"%0190d","slug":"%s"}\n' % (n, (b'one', b'two')[n % 3 == 0]) for n in range(90000)))
    got = b''
    with open(events, 'rb', buffering=0) as e:
        while part := e.read(1 << 17):
            got += part
            most = max(most, rss())
    assert got == mine() and len(got) > 13000000, len(got)
    assert os.stat(events).st_size == len(got)
    assert most - before < int(os.environ['KIB']), (before, most)
    was = read()
    for n in range(100):
        f.write(b'{"event":"e","n":%d,"slug":"one"}\n' % n)
        assert open(events, 'rb').seek(0, 2) > len(got)
        with open(events, 'rb', buffering=0) as e:
            e.seek(-33, 2)
            assert e.read().endswith(b'"n":%d,"slug":"one"}\n' % n)
    assert read() - was < 10000000, read() - was
    print('ran: %d bytes of events, a read of all and 100 lines more: %d -> %d KiB, then %d bytes read' % (len(got), before, most, read() - was))
END
# what is kept of the rows of a slug goes with it, whoever removed it
memory() { awk '$1 == "RssAnon:" { print $2 }' "/proc/$(server_pid)/status"; }
before=$(memory)
slug gone
slug too
python3 - "$S/tune" <<'END' || fail "rows"
import sys
for slug in ('gone', 'too'):
    with open('%s/%s/captures.jsonl' % (sys.argv[1], slug), 'w') as f:
        f.writelines('{"input":%d,"output":1}\n' % n for n in range(400000))
END
soon test -e "$M/too/status"
for s in gone too; do has "rows of $s" "$(cat "$M/$s/status")" "captures_teach 400000"; done
kept=$(($(memory) - before))
[ $kept -gt 16000 ] || fail "400,000 rows twice are kept in $kept KiB: this test measures nothing"
echo "remove gone" >"$M/gone/ctl" || fail "remove"
rm -r "$S/tune/too"
given_back() { [ $(($(memory) - before)) -lt $KIB ]; }
soon given_back
echo "ran: two slugs of 400000 rows and none: $kept, $(($(memory) - before)) KiB"
finish
