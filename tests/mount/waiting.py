# waiting.py MOUNT - for waiting.sh: each way to hear of a change, for the same change: one line `WAY MILLISECONDS` each, the median of several tries from the end of the write.
import ctypes, os, select, statistics, subprocess, sys, threading, time
m = sys.argv[1]
p = lambda n: os.path.join(m, 'one', n)
libc = ctypes.CDLL(None, use_errno=True)
TRIES, IN_MODIFY = 7, 2


def change():
    with open(p('ctl'), 'wb', buffering=0) as f:
        f.write(b'rollback\n')
    return time.monotonic()


def polled(name, make, ready):
    fd = os.open(p(name), os.O_RDONLY)
    os.read(fd, 1 << 20)
    wait = make(fd)
    late = []
    for _ in range(TRIES):
        while wait(0.1):  # quiet before it
            os.lseek(fd, 0, 0)
            os.read(fd, 1 << 20)
        got = {}
        th = threading.Thread(target=lambda: got.update(ok=wait(3), at=time.monotonic()))
        th.start()
        time.sleep(0.02)
        done = change()
        th.join()
        assert got['ok'] and ready(got['ok']), (name, got)
        late.append(got['at'] - done)
    os.close(fd)
    return late


def by_poll(fd):
    po = select.poll()
    po.register(fd, select.POLLPRI)
    return lambda sec: po.poll(sec * 1000)


def by_epoll(flags):
    def make(fd):
        ep = select.epoll()
        ep.register(fd, select.EPOLLPRI | flags)
        return lambda sec: ep.poll(sec)
    return make


def by_inotify(name):
    ino = libc.inotify_init1(os.O_CLOEXEC)
    assert libc.inotify_add_watch(ino, p(name).encode(), IN_MODIFY) >= 0
    late = []
    for _ in range(TRIES):
        time.sleep(0.15)
        while select.select([ino], [], [], 0.05)[0]:
            os.read(ino, 65536)
        got = {}
        th = threading.Thread(target=lambda: got.update(ok=select.select([ino], [], [], 3)[0], at=time.monotonic()))
        th.start()
        time.sleep(0.02)
        done = change()
        th.join()
        assert got['ok'], 'no inotify event on ' + (name or 'the folder')
        late.append(got['at'] - done)
    os.close(ino)
    return late


def by_follow():
    fd = os.open(p('follow'), os.O_RDONLY)
    late = []
    for _ in range(TRIES):
        got = {}
        th = threading.Thread(target=lambda: got.update(line=os.read(fd, 65536), at=time.monotonic()))
        th.start()
        time.sleep(0.05)
        done = change()
        th.join(3)
        assert b'rolled_back' in got['line'], got
        late.append(got['at'] - done)
    os.close(fd)
    return late


def by_tail():
    tail = subprocess.Popen(['tail', '-n', '0', '-f', p('events')], stdout=subprocess.PIPE)
    late = []
    time.sleep(0.5)
    for _ in range(3):
        done = change()
        assert b'rolled_back' in tail.stdout.readline()
        late.append(time.monotonic() - done)
    tail.kill()
    return late


pri = lambda got: got[0][1] & select.POLLPRI
for way, late in (
        ('poll-HEAD', lambda: polled('HEAD', by_poll, pri)), ('poll-status', lambda: polled('status', by_poll, pri)),
        ('poll-events', lambda: polled('events', by_poll, pri)), ('epoll-HEAD', lambda: polled('HEAD', by_epoll(0), pri)),
        ('epoll-edge-HEAD', lambda: polled('HEAD', by_epoll(select.EPOLLET), pri)), ('follow', by_follow),
        ('inotify-HEAD', lambda: by_inotify('HEAD')), ('inotify-status', lambda: by_inotify('status')),
        ('inotify-events', lambda: by_inotify('events')), ('inotify-folder', lambda: by_inotify('')), ('tail-f', by_tail)):
    print('%s %.1f' % (way, max(0, statistics.median(late())) * 1000), flush=True)
