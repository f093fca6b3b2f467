# machine.py MOUNT STORE WORDS SEED [all] - for machine.sh: reads, fsyncs and allocations of the server that fail, and a clock that jumps (BAD-INPUTS K04, K05, K06, K11). WORDS is
# the file by which mischief.c is told. Prints a line for each thing that does not hold.
import errno, hashlib, json, mmap, os, random, struct, subprocess, sys, threading, time

M, S, WORDS, SEED = sys.argv[1:5]
ALL = 'all' in sys.argv[5:]
words = mmap.mmap(os.open(WORDS, os.O_RDWR), 128)
PID, FSYNC_NO, FSYNCS, READ_NO, READS, ALLOC, CLOCK, HITS = range(8)
bad = []


def put(at, value):
    words[at * 8:at * 8 + 8] = struct.pack('=q', value)


def get(at):
    return struct.unpack('=q', words[at * 8:at * 8 + 8])[0]


def path(name):
    return os.path.join(M, name)


def read(name):
    try:
        with open(path(name), 'rb') as f:
            return '-', f.read()
    except OSError as e:
        return errno.errorcode[e.errno], b''


def write(name, text):
    """(errno, sentence)"""
    try:
        fd = os.open(path(name), os.O_RDWR)
    except OSError as e:
        return errno.errorcode[e.errno], ''
    try:
        n = os.write(fd, text.encode())
        if name.endswith(('run', 'query')):
            os.read(fd, 65536)
        return ('-' if n == len(text) else 'short'), ''
    except OSError as e:
        no = errno.errorcode[e.errno]
        try:
            return no, os.pread(fd, 4096, 0).decode('utf-8', 'replace').strip() if name.endswith('ctl') else said(name)
        except OSError as e:
            return no, errno.errorcode[e.errno]
    finally:
        try:
            os.close(fd)
        except OSError:
            pass


def said(name):
    return read(os.path.join(os.path.dirname(name), 'error'))[1].decode().strip()


def digest():
    h = hashlib.sha256()
    for at, folders, names in os.walk(S):
        folders.sort()
        for n in sorted(names):
            p = os.path.join(at, n)
            if 'lock' in n or not os.path.isfile(p):
                continue
            h.update(p.encode() + b'\0' + open(p, 'rb').read())
    return h.hexdigest()


def expect(what, want, got):
    if want != got:
        bad.append('%s: %r, not %r' % (what, got, want))


def alive(what):
    t = time.monotonic()
    expect(what + ': it lives', ('-', b'v1\n'), read('one/HEAD'))
    expect(what + ': it obeys', ('-', ''), write('one/ctl', '# nothing\n'))
    if time.monotonic() - t > 1:
        bad.append('%s: not there within a second' % what)


def k04():
    """an fsync that fails once: not done, and said so; the next one is done"""
    for command in ('capture on', 'set gate.k_min 0.5', 'rollback', 'promote v0 force'):
        before = digest()
        put(FSYNC_NO, errno.EIO)
        put(FSYNCS, 1)
        hits = get(HITS)
        got, sentence = write('one/ctl', command)
        expect('K04 %s: an fsync failed' % command, 1, get(HITS) - hits)
        put(FSYNCS, 0)
        expect('K04 %s' % command, ('EIO', True), (got, 'could not make it durable; not counted as done' in sentence))
        expect('K04 %s: the store' % command, before, digest())
        alive('K04')


def k05():
    """a read error is the file's, with where"""
    for name, probe, part in (
            ('/HEAD', 'one/HEAD', 'HEAD'), ('/tune-config.json', ('one/ctl', 'capture on'), 'tune-config.json'), ('/captures.jsonl', ('one/ctl', 'step'), 'captures.jsonl'),
            ('/HEAD', ('one/ctl', 'rollback'), 'HEAD'), ('/adapter_model.safetensors', ('one/ctl', 'promote v0 force'), 'adapter_model.safetensors'),
            ('/adapter_config.json', 'one/revisions/v1/adapter_config.json', None), ('/captures.jsonl', 'one/captures.jsonl', None), ('/tune.jsonl', 'logs/tune.jsonl', None)):
        if name.endswith('.safetensors'):  # or a slow machine has read it before, and knows its digest
            os.utime(os.path.join(S, 'tune/one/revisions/v0' + name))
        before = digest()
        words[64:128] = name.encode().ljust(64, b'\0')
        put(READ_NO, errno.EIO)
        put(READS, 1000)
        if isinstance(probe, str):
            got, sentence = read(probe)[0], said(probe)
        else:
            got, sentence = write(*probe)
        put(READS, 0)
        expect('K05 %s of %s' % (probe, name), 'EIO', got)
        if part and not (part in sentence and 'offset' in sentence):
            bad.append('K05 %s of %s: "%s"' % (probe, name, sentence))
        expect('K05 %s: the store' % (probe,), before, digest())
        alive('K05')


READ = ['README', 'version', 'status', 'error', 'ctl', 'logs/tune.jsonl', 'one/ctl', 'one/status', 'one/HEAD', 'one/head.prev', 'one/tune-config.json', 'one/captures.jsonl', 'one/events',
        'one/revisions/v1/adapter_config.json', 'one/log', 'rag/ctl', 'rag/docs/status', 'rag/docs/docs', 'rag/docs/manifest.json', 'rag/docs/query?q=refund', 'rag/docs/terms/refund', 'rag/docs/doc/a.md']
CONSTANT = ['README', 'version', 'ctl', 'one/ctl', 'rag/ctl', 'one/revisions/v1/adapter_config.json', 'rag/docs/manifest.json', 'rag/docs/docs', 'rag/docs/query?q=refund', 'rag/docs/terms/refund',
            'rag/docs/doc/a.md']
WRITE = [('one/ctl', 'capture on'), ('one/ctl', 'capture off'), ('one/ctl', 'set watch.threshold_rows 7'), ('one/ctl', 'rollback'), ('one/ctl', 'frobnicate'), ('one/ctl', 'step'),
         ('one/captures.jsonl', '{"input":1,"output":2}\n'), ('one/captures.jsonl', '{"input":1'), ('one/tune-config.json', '{"rank":8'), ('rag/docs/query', 'refund'), ('rag/ctl', 'index /nowhere'),
         ('ctl', 'init /nowhere/a.kolm base=/nowhere/b')]


def k06():
    """memory is short in the middle of anything: ENOMEM or the true answer, and the server goes on"""
    rng = random.Random(int(SEED))
    good = {n: read(n) for n in READ}
    usual = {w: write(*w)[0] for w in WRITE if w[1] not in ('rollback',)}
    alive('K06, before')
    hits = get(HITS)
    stop = time.monotonic() + (60 if ALL else 2)
    seen, ops = set(), []

    def client(seed):
        r = random.Random(seed)
        while time.monotonic() < stop:
            begun = time.monotonic()
            if r.random() < 0.7:
                n = r.choice(READ)
                got = read(n)
                if got[0] not in ('-', 'ENOMEM') or (got[0] == '-' and n in CONSTANT and got != good[n]):
                    seen.add('K06 reading %s: %s %r' % (n, got[0], got[1][:60]))
            else:
                w = r.choice(WRITE)
                got = write(*w)
                if got[0] not in ('-', 'ENOMEM', usual.get(w)) and (w[1], got[0]) != ('step', 'EBUSY'):
                    seen.add('K06 writing %s: %s %s' % (w, got[0], got[1][:120]))
            ops.append(time.monotonic() - begun)

    ths = [threading.Thread(target=client, args=(rng.random(),)) for _ in range(8)]
    for th in ths:
        th.start()
    while time.monotonic() < stop:
        put(ALLOC, rng.choice((1, 2, 3, 5, 7, 11, 23, 60)))
        time.sleep(0.05)
    for th in ths:
        th.join(30)
        if th.is_alive():
            bad.append('K06: a client hangs')
    put(ALLOC, 0)
    bad.extend(sorted(seen))
    if get(HITS) - hits < 100:
        bad.append('K06: only %d allocations failed' % (get(HITS) - hits))
    for n in READ:
        got = read(n)
        if got[0] != '-' or (n in CONSTANT and got != good[n]):
            bad.append('K06, afterwards: %s: %s %r' % (n, got[0], got[1][:60]))
    expect('K06, afterwards: HEAD', True, read('one/HEAD')[1] in (b'v0\n', b'v1\n'))
    expect('K06, afterwards: a command', '-', write('one/ctl', 'capture on')[0])
    if max(ops) > 2:
        bad.append('K06: an answer took %.1f s' % max(ops))
    return len(ops), get(HITS) - hits


def k11():
    """a year ahead, a year back: the order in the log holds, nothing expires"""
    year = 365 * 86400
    before = [json.loads(l)['seq'] for l in open(S + '/logs/tune.jsonl')][-1]
    for n, at in enumerate((0, year, -year, 0)):
        put(CLOCK, at)
        expect('K11 a command', '-', write('one/ctl', 'capture ' + ('on' if n % 2 else 'off'))[0])
        expect('K11 status', '-', read('one/status')[0])
        # a step during which the clock jumps back and forth took as long as it took
        expect('K11 a step', '-', write('one/ctl', 'step from=v0 rows=all')[0])
        put(CLOCK, year - at)
        got = subprocess.run(['timeout', '30', 'cat', path('one/wait')], capture_output=True).stdout.decode()
        took = got.split('elapsed=')[-1].split()[0] if 'elapsed=' in got else 'never'
        if ' step ok ' not in got or not -0.05 < float(took) < 60:
            bad.append('K11 a step while the clock goes from %d to %d: %s' % (at, year - at, got))
        put(CLOCK, at)
        t = time.monotonic()
        expect('K11 a job', '-', write('rag/ctl', 'index %s name=again' % (S + '/../docs'))[0])
        got = subprocess.run(['timeout', '10', 'cat', path('rag/wait')], capture_output=True).stdout.decode()
        if ' ok ' not in got or time.monotonic() - t > 8:
            bad.append('K11 clock at %d: after %.1f s: %s' % (at, time.monotonic() - t, got))
        alive('K11')
    put(CLOCK, 0)
    lines = [json.loads(l) for l in open(S + '/logs/tune.jsonl')]
    expect('K11 the order in the log', list(range(1, len(lines) + 1)), [l['seq'] for l in lines])
    expect('K11 lines', before + 12, lines[-1]['seq'])


put(PID, int(next(l.split()[1] for l in open(path('status')) if l.startswith('pid '))))
k04()
k05()
k11()
failed = k06()
for line in bad:
    print(line)
print('ran: %d operations with %d failing allocations, seed %s' % (*failed, SEED))
sys.exit(bool(bad))
