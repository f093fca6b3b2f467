#!/bin/bash
# Change reaches everybody who waits for it: blocking reads, poll, epoll, inotify, tail -f; and those who wait cost nothing and can be interrupted.
. "$(dirname "$0")/lib.sh"
slug one
start
python3 - "$M" <<'END' || fail "poll, epoll, inotify, follow"
import ctypes, errno, os, select, signal, struct, subprocess, sys, threading, time
m = sys.argv[1]
one = os.path.join(m, 'one')
p = lambda n: os.path.join(one, n)

def cmd(line):
    with open(p('ctl'), 'wb', buffering=0) as f: f.write(line.encode() + b'\n')

# poll: quiet until something changes, then POLLPRI once until it is read again
fd = os.open(p('HEAD'), os.O_RDONLY)
assert os.read(fd, 100) == b'v1\n'
po = select.poll()
po.register(fd, select.POLLPRI)
assert po.poll(50) == []
t = time.monotonic()
os.rename(p('head.prev'), p('HEAD'))
got = po.poll(2000)
assert got and got[0][1] & select.POLLPRI, got
assert time.monotonic() - t < 0.5
os.lseek(fd, 0, 0)
assert os.read(fd, 100) == b'v0\n'
assert po.poll(50) == []

# epoll, edge-triggered, on status; epoll waits inside the kernel while it changes
ep = select.epoll()
st = os.open(p('status'), os.O_RDONLY)
os.read(st, 10000)
ep.register(st, select.EPOLLPRI | select.EPOLLET)
ep.poll(0.1)
threading.Timer(0.2, cmd, ['capture on']).start()
t = time.monotonic()
assert ep.poll(2), 'epoll'
assert time.monotonic() - t < 1

# inotify on the file and on its folder
libc = ctypes.CDLL(None, use_errno=True)
IN_MODIFY = 2
for watched in ('HEAD', ''):
    ino = libc.inotify_init1(os.O_CLOEXEC)
    assert libc.inotify_add_watch(ino, p(watched).encode(), IN_MODIFY) >= 0
    time.sleep(0.15)
    while select.select([ino], [], [], 0)[0]: os.read(ino, 65536)
    cmd('rollback')
    assert select.select([ino], [], [], 2)[0], 'no inotify event on ' + (watched or 'the folder')
    os.close(ino)

# follow: from its open on, line by line; a reply never longer than asked for
fo = os.open(p('follow'), os.O_RDONLY)
fn = os.open(p('follow'), os.O_RDONLY | os.O_NONBLOCK)
try:
    os.read(fn, 10)
    assert False
except BlockingIOError:
    pass
po = select.poll()
po.register(fo, select.POLLIN)
assert po.poll(50) == []
got = []
th = threading.Thread(target=lambda: got.append(os.read(fo, 65536)))
th.start()
time.sleep(0.1)
cmd('rollback')
th.join(2)
assert got and b'"slug":"one"' in got[0] and got[0].endswith(b'\n'), got
time.sleep(0.2)
assert os.read(fn, 1) == b'{'
assert got[0].startswith(b'{' + os.read(fn, 5))

# wait: nothing ever ran
try:
    open(p('wait')).read()
    assert False
except OSError as e:
    assert e.errno == errno.ENODATA, e

# a thousand waiting readers; everybody else is served; a signal ends one of them
fds = [os.open(p('follow'), os.O_RDONLY) for _ in range(200)]
threading.stack_size(65536)
ths = [threading.Thread(target=lambda f=f: got.append(os.read(f, 4096))) for f in fds]
del got[:]
for x in ths: x.start()
time.sleep(0.3)
t = time.monotonic()
assert open(p('HEAD')).read() in ('v0\n', 'v1\n')
os.listdir(m)
assert time.monotonic() - t < 0.5
child = subprocess.Popen(['cat', p('follow')], stdout=subprocess.DEVNULL)
time.sleep(0.2)
child.send_signal(signal.SIGINT)
assert child.wait(2) == -signal.SIGINT
cmd('rollback')
for x in ths: x.join(5)
assert len(got) == 200 and all(b'rolled_back' in g or b'rollback' in g for g in got), len(got)
END

# what another process did to the store is told within a second or two, to polls and to inotify; what was told of our own is not told again
python3 - "$M" "$S" "$BUILD/bin/kolm" <<'END' || fail "changes of another process"
import ctypes, os, select, subprocess, sys, threading, time
m, s, kolm = sys.argv[1:]
libc = ctypes.CDLL(None)
class Watched:
    """a file of the mount that is polled and watched by inotify; what was done before has been told"""
    def __init__(self, path):
        self.fd, self.ino, self.po = os.open(path, os.O_RDONLY), libc.inotify_init1(os.O_CLOEXEC), select.poll()
        assert os.read(self.fd, 4096) and libc.inotify_add_watch(self.ino, path.encode(), 2) >= 0
        self.po.register(self.fd, select.POLLPRI)
        self.settle()
    def settle(self, seconds=1.2):
        """how often it was told until nothing came for so long"""
        n = 0
        while self.po.poll(seconds * 1000):
            os.lseek(self.fd, 0, os.SEEK_SET)
            os.read(self.fd, 4096)
            n += 1
        while select.select([self.ino], [], [], 0)[0]:
            os.read(self.ino, 4096)
        return n
    def close(self):
        os.close(self.fd)
        os.close(self.ino)
by_kolm = lambda *w: lambda: subprocess.run([kolm, '--store', s, *w], check=True, stdout=subprocess.DEVNULL)
tune = lambda verb: by_kolm('tune', verb, '--slug', 'one')
by_shell = lambda text: lambda: subprocess.run(['sh', '-c', text], check=True, cwd=os.path.join(s, 'tune/one'))
row = by_shell("""echo '{"input":"another","output":"row"}' >>captures.jsonl""")
docs = os.path.join(os.path.dirname(s), 'docs')
os.makedirs(docs)
open(docs + '/a.txt', 'w').write('text')
def index():
    open(os.path.join(m, 'rag/ctl'), 'w').write('index %s name=docs' % docs)
    open(os.path.join(m, 'rag/wait')).read()
index()
for name, act in (('one/HEAD', tune('rollback')), ('one/events', tune('capture-on')), ('one/tune-config.json', tune('capture-off')), ('one/status', row), ('one/captures.jsonl', row),
                  ('one/tune-config.json', by_shell('sed s/false/true/ tune-config.json >new && mv new tune-config.json')),
                  ('rag/docs/status', index), ('rag/docs/status', by_kolm('rag', 'index', docs, '--name', 'docs')), ('rag/docs/index.json', by_kolm('rag', 'index', docs, '--name', 'docs'))):
    w = Watched(os.path.join(m, name))
    act()
    got = w.po.poll(4000)
    assert got and got[0][1] & select.POLLPRI, (name, got)
    assert select.select([w.ino], [], [], 2)[0], 'no inotify event on ' + name
    if name == 'one/HEAD':
        w.settle()
        open(os.path.join(m, 'one/ctl'), 'w').write('rollback')
        assert w.settle(1.5) == 1, 'ours was not told once'
    w.close()
# rows of ours, told all the time, do not cover it
over = threading.Event()
def rows():
    with open(os.path.join(m, 'one/captures.jsonl'), 'wb', buffering=0) as f:
        while not over.wait(0.02):
            f.write(b'{"input":"a","output":"b"}\n')
writer = threading.Thread(target=rows)
writer.start()
fd, po = os.open(os.path.join(m, 'one/HEAD'), os.O_RDONLY), select.poll()
os.read(fd, 4096)
po.register(fd, select.POLLPRI)
time.sleep(0.2)
tune('rollback')()
got = po.poll(4000)
over.set()
writer.join()
assert got, 'rows of ours covered the change of another'
END

# follow misses nothing when the log turns over: by another process at that, while nobody reads
stop
{ cat "$S/config.json" 2>/dev/null || echo '{}'; } | jq '.log_max_bytes = 65536' >"$T/c.json" && cp "$T/c.json" "$S/config.json"
start
# a new server knows which lines of the log are its own: the first change is told once
python3 - "$M" <<'END' || fail "the first change of a server"
import os, select, sys
fd, po = os.open(os.path.join(sys.argv[1], 'one/HEAD'), os.O_RDONLY), select.poll()
po.register(fd, select.POLLPRI)
for told in (2000, 1500):
    os.lseek(fd, 0, os.SEEK_SET)
    os.read(fd, 4096)
    if told == 2000:
        open(os.path.join(sys.argv[1], 'one/ctl'), 'w').write('rollback')
    assert bool(po.poll(told)) == (told == 2000), told
END
exec 4<"$M/one/follow" 5<"$M/one/follow"
cat <&5 >"$T/followed" &
follower=$!
turns() { ls "$S/logs" | grep -c '^tune\.[0-9]*\.jsonl'; }
n=0
while [ "$(turns)" = 0 ] && [ $n -lt 1000 ]; do
	n=$((n + 1))
	echo "set watch.sample_size $n" >"$M/one/ctl" || break
done
[ "$(turns)" = 1 ] || fail "the log did not turn over in $n changes"
echo "set watch.sample_size 5000" >"$M/one/ctl"
whole() { [ "$(grep -c . "$1")" -ge $((n + 1)) ]; }
soon whole "$T/followed"
kill $follower
exec 5<&-
timeout 20 cat <&4 >"$T/late" &
soon whole "$T/late"
kill $!
exec 4<&-
for f in followed late; do
	same "lines of $f" "$((n + 1))" "$(grep -c . "$T/$f")"
	same "$f in order" "$(seq -s ' ' $((n + 1)))" "$(jq -r .seq "$T/$f" | awk -v n="$(head -n 1 "$T/$f" | jq .seq)" '{ printf "%s%d", (NR > 1 ? " " : ""), $1 - n + 1 }')"
done

# every file answers poll: one that did not would turn it off for the whole mount
python3 - "$M" <<'END' || fail "poll of every file"
import os, select, sys
for at, _, names in os.walk(sys.argv[1]):
    for n in names:
        fd = os.open(os.path.join(at, n), os.O_RDONLY)
        po = select.poll()
        po.register(fd, select.POLLIN)
        got = po.poll(1000)
        assert got and got[0][1] & select.POLLIN, (n, got)
        os.close(fd)
END

# mv is rollback, and says so; HEAD and head.prev both stay
before=$(cat "$M/one/HEAD" "$M/one/head.prev" | tr '\n' ' ')
mv "$M/one/head.prev" "$M/one/HEAD" || fail mv
same "exchanged" "$(echo $before | awk '{ print $2, $1 }')" "$(cat "$M/one/HEAD" "$M/one/head.prev" | tr '\n' ' ' | sed 's/ $//')"
mv "$M/one/head.prev" "$M/one/HEAD" || fail "mv back"
same "and back" "$before" "$(cat "$M/one/HEAD" "$M/one/head.prev" | tr '\n' ' ')"
has "the audit log" "$(tail -n 1 "$M/one/events")" '"slug":"one"'
ok grep -q . "$M/logs/tune.jsonl"
# a store of many slugs: all of them are looked at (F08)
stop
for n in $(seq 40); do
	slug "s$n"
	echo '{"input":1,"output":1}' >"$S/tune/s$n/captures.jsonl"
done
start
soon grep -q '^walls in' "$M/status" # then the first look is taken
sleep 2
for n in $(seq 40); do : >"$S/tune/s$n/captures.jsonl"; done
replaced() { grep -h '"event":"captures_replaced"' "$S"/logs/tune.jsonl | grep -o '"slug":"s[0-9]*"' | sort -u | wc -l; }
noticed() { [ "$(replaced)" = 40 ]; }
soon noticed
same "slugs whose captures were cut" 40 "$(replaced)"

# taken away while a file is open: the server still takes commands, and what now lies at its files' paths is somebody's; it is not touched
cat "$M/one/HEAD" "$M/one/status" >/dev/null
exec 4<>"$M/one/ctl"
before=$(awk '$1 == "head" { print $2 }' "$M/one/status")
umount -l "$M" || fail "umount -l"
mkdir "$M/one" "$M/logs"
for f in one/HEAD one/head.prev one/status one/events one/error logs/tune.jsonl status; do echo precious >"$M/$f"; done
echo rollback >&4 || fail "a command on an open descriptor"
[ "$(cat "$S/tune/one/HEAD")" != "$before" ] || fail "no rollback"
sleep 0.3 # a touch comes at most 40 ms after the change
for f in one/HEAD one/head.prev one/status one/events one/error logs/tune.jsonl status; do
	same "a file at the path of $f" precious "$(cat "$M/$f")"
done
exec 4>&-
soon bash -c '[ -z "$(pgrep -f "$1")" ]' - "$KOLMFS.* $M\$"
finish
