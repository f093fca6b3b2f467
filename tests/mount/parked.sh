#!/bin/bash
# A thousand parked readers cost nothing: no processor time, little memory; `ls` stays under 2 ms beside them; ^C and kill -9 end one of them; all are answered, and what they held is given back.
. "$(dirname "$0")/lib.sh"
slug one
start
soon grep -q '^walls in' "$M/status" # then the first look is taken
# a sanitizer keeps what was freed, to see it used
export KIB=4096
case $BUILD in *-san) KIB=1000000 ;; esac
timeout 100 python3 - "$M" "$(server_pid)" <<'END' || fail "a thousand parked readers"
import os, resource, signal, statistics, subprocess, sys, threading, time
m, pid = sys.argv[1], int(sys.argv[2])
p = lambda n: os.path.join(m, 'one', n)
N = 1000
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
ticks = lambda: sum(int(x) for x in open('/proc/%d/stat' % pid).read().rsplit(') ', 1)[1].split()[11:13])
rss = lambda: int(open('/proc/%d/statm' % pid).read().split()[1]) * 4
fds = lambda: len(os.listdir('/proc/%d/fd' % pid))
threads = lambda: len(os.listdir('/proc/%d/task' % pid))


def waits():  # how often each thread began to wait
    return {t: next(l for l in open('/proc/%d/task/%s/status' % (pid, t)) if l.startswith('voluntary')) for t in os.listdir('/proc/%d/task' % pid)}


def ls():
    t = time.monotonic()
    os.listdir(m + '/one')
    os.stat(p('HEAD'))
    return time.monotonic() - t


before = fds(), rss()
got = []
threading.stack_size(65536)
files = [os.open(p('follow'), os.O_RDONLY) for _ in range(N)]
readers = [threading.Thread(target=lambda f=f: got.append(os.read(f, 65536))) for f in files]
for r in readers:
    r.start()
time.sleep(2.5)
assert not got
idle, waiting = ticks(), waits()
time.sleep(5)
used = (ticks() - idle) * 1000 // os.sysconf('SC_CLK_TCK')
woken = [t for t, n in waits().items() if n != waiting.get(t)]
listing = statistics.median(ls() for _ in range(200)) * 1000
grown = rss() - before[1]
print('ran: %d parked readers: %d ms of processor time in 5 s, ls %.2f ms, %d KiB, %d threads' % (N, used, listing, grown, threads()), flush=True)
assert used <= 100, used
assert not woken, woken  # nobody looks by the clock
assert listing < 2, listing
assert grown < int(os.environ['KIB']), grown

# signals
for sig in (signal.SIGINT, signal.SIGKILL):
    child = subprocess.Popen(['cat', p('follow')], stdout=subprocess.DEVNULL)
    time.sleep(0.2)
    t = time.monotonic()
    child.send_signal(sig)
    assert child.wait(2) == -sig, child.returncode
    assert time.monotonic() - t < 0.5
with open(p('ctl'), 'wb', buffering=0) as f:
    f.write(b'rollback\n')
for r in readers:
    r.join(10)
assert len(got) == N and all(b'rolled_back' in g for g in got), len(got)
for f in files:
    os.close(f)
for _ in range(100):
    if fds() <= before[0]:
        break
    time.sleep(0.05)
assert fds() <= before[0], (fds(), before)
assert open(p('HEAD')).read() == 'v0\n'
END
finish
