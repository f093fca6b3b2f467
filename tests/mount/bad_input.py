# bad_input.py MOUNT STORE WORK SEED [all] - for bad-input.sh: the rows of BAD-INPUTS that a mount can be given, a table with a row per id. Each must give its errno and its
# sentence, leave the store's digest as it was, and the server alive within a second. Every row is written with and without a line feed; a sample chosen by SEED (with `all`: every row)
# also as the tenth command on a handle and from 32 clients at once. Prints a line for each row that does not hold, and at last how many were tried.
import errno, hashlib, os, random, shutil, stat, subprocess, sys, threading, time

M, S, WORK, SEED = sys.argv[1:5]
ALL = 'all' in sys.argv[5:]
bad, tried = [], 0
one, two, root, rag = 'one/ctl', 'two/ctl', 'ctl', 'rag/ctl'
art, base = WORK + '/two.kolm', WORK + '/base.gguf'
init = lambda rest: 'init %s %s' % (art, rest)

# id, file, what is written, errno, part of the sentence
WRITES = [
    ('A02', one, '  \n \t\n', 'EINVAL', 'empty command'),
    ('A03', one, 'frobnicate', 'EINVAL', 'unknown command "frobnicate"; known: step eval'),
    ('A03', root, 'step', 'EINVAL', 'unknown command "step"; known: init'),
    ('A03', rag, 'step', 'EINVAL', 'unknown command "step"; known: index'),
    ('A04', one, 'promote', 'EINVAL', 'promote: needs a revision'),
    ('A04', one, 'set gate.k_min', 'EINVAL', 'set: needs a key and a value'),
    ('A04', one, 'capture', 'EINVAL', 'capture: needs on or off'),
    ('A04', root, 'init', 'EINVAL', 'init: needs an artifact'),
    ('A05', one, 'promote v1 force now', 'EINVAL', 'promote: too many arguments'),
    ('A05', one, 'rollback now', 'EINVAL', 'rollback: too many arguments'),
    ('A06', one, 'step epoch=1', 'EINVAL', 'unknown option "epoch"; did you mean "epochs"'),
    ('A07', one, 'step epochs=1 epochs=2', 'EINVAL', 'epochs given twice'),
    ('A09', one, 'x' * 4097, 'EMSGSIZE', 'command longer than 4096 bytes'),
    ('A09', one, 'x' * 100000, 'EMSGSIZE', 'command longer than 4096 bytes'),
    ('A10', one, 'promote\0v1', 'EINVAL', 'NUL byte at 7'),
    ('A11', one, b'eval \xc3(', 'EILSEQ', 'not UTF-8 at byte'),
    ('A11', one, b'eval \xf5\x80\x80\x80', 'EILSEQ', 'not UTF-8 at byte'),
    ('A11', one, b'eval \x80', 'EILSEQ', 'not UTF-8 at byte'),
    ('A12', one, 'set a \x1b[2J', 'EINVAL', 'control character'),
    ('A12', one, 'set a b\x07c', 'EINVAL', 'b\\x07c'),
    ('A14', one, 'prom', 'EINVAL', 'unknown command "prom"'),
    ('A14', one, 'ote v1', 'EINVAL', 'unknown command "ote"'),
    ('A20', one, 'promote v1; rm -rf /', 'EINVAL', 'bad revision "v1;"'),
    ('A20', one, 'promote $(id)', 'EINVAL', 'bad revision "$(id)"'),
    ('A20', one, 'eval `id`', 'EINVAL', 'bad revision "`id`"'),
] + [('A21', one, 'step epochs=' + n, 'EINVAL', 'epochs: whole number expected') for n in ('1e1', '0x10', '+1', '1.0', '\u0967')
] + [('A22', one, 'step epochs=' + n, 'ERANGE', 'epochs: 1 to 1000') for n in ('0', '-1', '1001', '99999999999999999999')
] + [('A23', one, 'step lr=' + n, 'EDOM', 'lr: finite number expected') for n in ('nan', 'inf', '-inf')
] + [('A24', one, 'step lr=' + n, 'ERANGE', 'lr: above 0 and below 1') for n in ('0', '-2e-4', '2', '1e-400')
] + [('A25', root, init('base=%s rank=%s' % (base, n)), 'ERANGE', 'rank: 1 to 512') for n in ('0', '-8', '4097')
] + [
    ('A25', root, init('base=%s alpha=0' % base), 'ERANGE', 'alpha:'),
    ('A26', one, "promote 'v1", 'EINVAL', 'unfinished quote'),
    ('A26', one, 'promote v1\\', 'EINVAL', 'unfinished quote'),
] + [('B01', root, init("base=%s 'slug=%s'" % (base, n)), 'EINVAL', 'bad name') for n in ('../../etc', '..', '.', 'a/b', "''")
] + [('B02', root, init('base=%s slug=%s' % (base, 'a' * n)), 'ENAMETOOLONG', 'name longer than 64') for n in (65, 500, 3000)
] + [('B03', root, init("base=%s 'slug=%s'" % (base, n)), 'EINVAL', 'bad name') for n in ('a b', 'a:b', 'a\\b', '%2e%2e', '-x', 'rag', 'logs')
] + [('B04', root, init("base=%s slug=%s" % (base, n)), 'EINVAL', 'bad name') for n in ('caf\u00e9', 'cafe\u0301')
] + [
    ('B06', root, 'init %s/folder.kolm base=%s' % (WORK, base), 'EISDIR', 'not a regular file'),
    ('B06', root, 'init %s/fifo.kolm base=%s' % (WORK, base), 'EINVAL', 'not a regular file'),
    ('B06', root, 'init /dev/null base=%s slug=x' % base, 'EINVAL', 'not a regular file'),
    ('B07', root, 'init %s/link.kolm base=%s' % (WORK, base), 'ELOOP', 'symbolic link'),
    ('B07', root, 'init %s/self.kolm base=%s' % (WORK, base), 'ELOOP', 'symbolic link'),
    ('B08', root, 'init %s/README base=%s' % (M, base), 'EINVAL', 'inside this mount'),
    ('B12', root, 'init %s/other.kolm base=%s slug=two' % (WORK, base), 'EEXIST', 'slug already belongs to'),
] + [('B13', root, init('base=%s slug=three' % n), 'EPERM', 'airgap: base must be a local path') for n in ('http://x/y', 'hf://org/model', 'org/model', 'file:///x')
] + [
    ('B14', root, init('base=%s/nothing.gguf slug=three' % WORK), 'ENOENT', 'base model not found'),
    ('B15', root, init('base=%s/folder.kolm slug=three' % WORK), 'EBADMSG', 'no config.json'),
    ('C02', root, 'init %s/text.kolm base=%s slug=three' % (WORK, base), 'EBADMSG', 'not a'),
    ('E04', two, 'eval v9', 'ENOENT', 'no revision v9 (have v0..v1)'),
    ('E05', two, 'promote v1', 'ERANGE', 'K_GATE: v1 has no eval'),
    ('E09', two, 'set gate.k_min 1.1', 'ERANGE', 'gate'),
    ('E09', two, 'set gate.k_min -1', 'ERANGE', 'gate'),
    ('E09', two, 'set gate.k_min null', 'EINVAL', 'gate'),
    ('E10', two, 'promote v0', 'EALREADY', 'HEAD is v0 already'),
    ('E11', two, 'rollback', 'ENOENT', 'no prior head to roll back to'),
    ('F04', 'one/captures.jsonl', '{}\n', 'EINVAL', 'capture needs input and output'),
    ('F04', 'one/captures.jsonl', '[]\n', 'EINVAL', 'capture needs input and output'),
    ('F04', 'one/captures.jsonl', 'null\n', 'EINVAL', 'capture needs input and output'),
    ('F04', 'one/captures.jsonl', '{"input":1}\n', 'EINVAL', 'capture needs input and output'),
    ('F09', two, 'step', 'ENODATA', 'no captures yet'),
    ('G03', two, 'set watch.threshold_rows 0', 'ERANGE', 'threshold_rows: 1 to 1000000'),
    ('G03', two, 'set watch.threshold_rows -1', 'ERANGE', 'threshold_rows: 1 to 1000000'),
    ('G03', two, 'set watch.threshold_rows 1000000000000', 'ERANGE', 'threshold_rows: 1 to 1000000'),
    ('G03', two, 'set dropout 1.5', 'ERANGE', 'dropout'),
    ('G03', two, 'set nosuch 1', 'EINVAL', 'nosuch'),
    ('H06', 'one/ctl', 'promote v9', 'ENOENT', 'v9 is incomplete'),
    ('K-', rag, 'index %s/nothing' % WORK, 'ENOENT', 'nothing'),
]


def put(name, text):
    def damage(d):
        with open(os.path.join(d, name), 'wb') as f:
            f.write(text)
    return damage


def gone(*names):
    return lambda d: [os.unlink(os.path.join(d, n)) for n in names if os.path.lexists(os.path.join(d, n))]


def instead(name, make):
    def damage(d):
        os.unlink(os.path.join(d, name))
        make(os.path.join(d, name))
    return damage


def flip(d):
    with open(os.path.join(d, 'revisions/v1/adapter_model.safetensors'), 'r+b') as f:
        f.seek(-3, 2)
        c = f.read(1)
        f.seek(-3, 2)
        f.write(bytes([c[0] ^ 1]))


def config(change):
    def damage(d):
        path = os.path.join(d, 'tune-config.json')
        text = open(path).read()
        assert change[0] in text, (change, text)
        open(path, 'w').write(text.replace(*change, 1))
        if os.path.exists(path + '.prev'):
            os.unlink(path + '.prev')
    return damage


# id, slug, what happened to its folder in the store, what is tried (a file that is read, or a ctl and its command), errno, part
STATES = [
    ('G01', 'two', put('tune-config.json', b''), (two, 'capture on'), 'EUCLEAN', 'tune-config.json is damaged'),
    ('G01', 'two', put('tune-config.json', b'{"rank": 8, "alp'), (two, 'set gate.k_min 0.5'), 'EUCLEAN', 'tune-config.json is damaged'),
    ('G01', 'two', put('tune-config.json', b'hello'), (two, 'capture on'), 'EUCLEAN', 'tune-config.json is damaged'),
    ('G02', 'two', config(('"rank": 8', '"rank": "8"')), (two, 'capture on'), 'EUCLEAN', 'rank: whole number expected'),
    ('H01', 'one', put('HEAD', b''), 'one/HEAD', 'EUCLEAN', 'HEAD is damaged'),
    ('H01', 'one', put('HEAD', b'v'), 'one/HEAD', 'EUCLEAN', 'HEAD is damaged'),
    ('H01', 'one', put('HEAD', b'vv1'), 'one/HEAD', 'EUCLEAN', 'HEAD is damaged: "vv1'),
    ('H01', 'one', put('HEAD', b'v1\nv2'), (one, 'rollback'), 'EUCLEAN', 'v1\\x0av2'),
    ('H01', 'one', put('HEAD', b'latest'), (one, 'rollback'), 'EUCLEAN', 'HEAD is damaged'),
    ('H01', 'one', put('HEAD', b'v' * 10000000), 'one/HEAD', 'EUCLEAN', 'HEAD is damaged'),
    ('H02', 'one', put('HEAD', b'v7\n'), 'one/HEAD', 'EUCLEAN', 'HEAD names v7, which is missing'),
    ('H03', 'one', instead('HEAD', lambda p: os.symlink('/etc/passwd', p)), 'one/HEAD', 'EUCLEAN', 'HEAD is not a regular file'),
    ('H03', 'one', instead('HEAD', os.mkdir), 'one/HEAD', 'EUCLEAN', 'HEAD is not a regular file'),
    ('H03', 'one', instead('HEAD', os.mkfifo), (one, 'rollback'), 'EUCLEAN', 'HEAD is not a regular file'),
    ('H04', 'two', gone('HEAD'), 'two/HEAD', 'EUCLEAN', 'HEAD is missing'),
    ('H07', 'two', flip, (two, 'promote v1 force'), 'EKEYREJECTED', 'does not match its digest'),
    ('H07', 'two', flip, (two, 'eval v1'), 'EKEYREJECTED', 'does not match its digest'),
    ('E12', 'one', lambda d: shutil.rmtree(d + '/revisions/v0'), (one, 'rollback'), 'EUCLEAN', 'v0 is damaged'),
    ('B05', 'one', shutil.rmtree, 'one/HEAD', 'ENOENT', None),
    ('F10', 'two', put('captures.jsonl', b'{}\n[]\nx\n'), (two, 'step'), 'ENODATA', 'no usable captures'),
]


def digest(gate=False):
    """of the store; with `gate` without the audit log, where the gate's refusals stand"""
    h = hashlib.sha256()
    for at, folders, names in os.walk(S):
        folders.sort()
        for n in sorted(names):
            path = os.path.join(at, n)
            st = os.lstat(path)
            if 'lock' in n or (gate and at.endswith('/logs')) or not stat.S_ISREG(st.st_mode):
                continue
            h.update(path.encode() + b'\0')
            h.update(str((st.st_size, st.st_mtime_ns)).encode() if '/revisions/' in path else open(path, 'rb').read())
    return h.hexdigest()


def write(fd, data):
    """(errno's name, sentence)"""
    try:
        n = os.write(fd, data)
        return ('-' if n == len(data) else 'short'), ''
    except OSError as e:
        name = errno.errorcode[e.errno]
    try:
        return name, os.pread(fd, 4096, 0).decode('utf-8', 'replace').strip()
    except OSError as e:
        return name, ''


def said(path):
    return open(os.path.join(M, os.path.dirname(path), 'error')).read().strip()


def expect(row, how, got, want, sentence, part):
    global tried
    tried += 1
    if got != want:
        bad.append('%s %s: errno %s, not %s: %s' % (row, how, got, want, sentence))
    elif part and part not in sentence:
        bad.append('%s %s: "%s" is not in "%s"' % (row, how, part, sentence))


def alive(row):
    t = time.monotonic()
    with open(os.path.join(M, 'rag/ctl'), 'wb', buffering=0) as f:
        f.write(b'# alive\n')
    if not open(os.path.join(M, 'version')).read().startswith('kolmfs') or time.monotonic() - t > 1:
        bad.append('%s: the server was not there within a second' % row)


def one_write(row, path, data, want, part, how, before=0):
    is_rows = path.endswith('.jsonl')
    fd = os.open(os.path.join(M, path), os.O_RDWR)
    for n in range(before):
        try:
            os.write(fd, b'\n' if is_rows else b'# nothing\n' if n % 2 else b'bogus\n')
        except OSError:
            pass
    t = time.monotonic()
    got, sentence = write(fd, data)
    if time.monotonic() - t > 2:
        bad.append('%s %s: took %.1f s' % (row, how, time.monotonic() - t))
    os.close(fd)
    if is_rows:
        sentence = said(path)
    return got, sentence


def many(row, path, data, want, part):
    got = []
    ths = [threading.Thread(target=lambda: got.append(one_write(row, path, data, want, part, '32 clients'))) for _ in range(32)]
    for th in ths:
        th.start()
    for th in ths:
        th.join()
    for name, sentence in got:
        expect(row, 'one of 32 clients', name, want, sentence, part)


def writes():
    rng = random.Random(int(SEED))
    sample = set(range(len(WRITES)) if ALL else rng.sample(range(len(WRITES)), len(WRITES) // 6))
    base_digest, gate_digest = digest(), digest(True)
    for i, (row, path, text, want, part) in enumerate(WRITES):
        data = text if isinstance(text, bytes) else text.encode()
        for tail in (b'', b'\n'):
            if path.endswith('.jsonl') and not tail:
                continue
            name, sentence = one_write(row, path, data + tail, want, part, repr(tail))
            expect(row, 'with the ending %r' % tail, name, want, sentence, part)
            if path.endswith('ctl') and part and part not in said(path):
                bad.append('%s: `error` says "%s"' % (row, said(path)))
        if i in sample:
            name, sentence = one_write(row, path, data, want, part, 'tenth', 9)
            expect(row, 'as the tenth command', name, want, sentence, part)
            many(row, path, data + b'\n', want, part)
        alive(row)
        is_gate = part.startswith('K_GATE')
        if digest(is_gate) != (gate_digest if is_gate else base_digest):
            bad.append('%s: the store has changed' % row)
        base_digest, gate_digest = digest(), digest(True)


def states():
    for row, slug, damage, probe, want, part in STATES:
        d = os.path.join(S, 'tune', slug)
        shutil.copytree(d, WORK + '/kept', symlinks=True)
        damage(d)
        before = digest()
        t = time.monotonic()
        if isinstance(probe, str):
            try:
                with open(os.path.join(M, probe)) as f:
                    got, sentence = '-', f.read()
            except OSError as e:
                got, sentence = errno.errorcode[e.errno], said(probe) if part else ''
        else:
            got, sentence = one_write(row, probe[0], probe[1].encode(), want, part, 'state')
        if time.monotonic() - t > 2:
            bad.append('%s: took %.1f s' % (row, time.monotonic() - t))
        expect(row, probe, got, want, sentence, part)
        if part and os.path.isdir(d) and part.split(':')[0] not in open(os.path.join(M, slug, 'status')).read() and row in ('H01', 'H02', 'H03', 'H04', 'G01'):
            bad.append('%s: status does not say it' % row)
        alive(row)
        if digest() != before:
            bad.append('%s: the store has changed' % row)
        shutil.rmtree(d, ignore_errors=True)
        os.rename(WORK + '/kept', d)
        if open(os.path.join(M, slug, 'HEAD')).read() not in ('v0\n', 'v1\n'):
            bad.append('%s: not well again afterwards' % row)


def expect_sys(row, want, fn):
    try:
        fn()
        got = '-'
    except OSError as e:
        got = errno.errorcode[e.errno]
    expect(row, 'call', got, want, '', None)


def calls():
    """rows that are no text: opens, names, other system calls"""
    j = lambda n: os.path.join(M, 'one', n)
    before = digest()
    os.close(os.open(j('ctl'), os.O_WRONLY | os.O_TRUNC))  # A01
    expect('A01', 'usage', '-', '-', open(j('ctl')).read(), 'promote vN [force] [id=WORD]')
    expect_sys('A15', 'EBADF', lambda: os.write(os.open(j('ctl'), os.O_RDONLY), b'x'))
    for row, want, fn in (
            ('A16', 'EPERM', lambda: os.truncate(j('ctl'), 5)), ('A16', 'EPERM', lambda: os.rename(j('ctl'), j('x'))), ('A16', 'EPERM', lambda: os.unlink(j('ctl'))),
            ('A16', 'EPERM', lambda: os.link(j('ctl'), j('x'))), ('A16', 'EPERM', lambda: os.chmod(j('ctl'), 0o777)), ('A16', 'EPERM', lambda: os.chown(j('ctl'), 1, 1)),
            ('A16', 'EPERM', lambda: os.mknod(j('x'))), ('A16', 'EPERM', lambda: os.mkdir(j('x'))), ('A16', 'EPERM', lambda: os.symlink('a', j('x'))),
            ('A16', 'EPERM', lambda: os.setxattr(j('ctl'), 'user.a', b'1')), ('F07', 'EPERM', lambda: os.truncate(j('captures.jsonl'), 3)),
            ('F07', 'EPERM', lambda: os.unlink(j('captures.jsonl'))), ('F07', 'EPERM', lambda: os.rename(j('captures.jsonl'), j('x'))),
            ('B01', 'ENOENT', lambda: os.stat(M + '/a b')), ('B02', 'ENAMETOOLONG', lambda: os.stat(M + '/' + 'a' * 65)), ('B03', 'ENOENT', lambda: os.stat(M + '/-x')),
            ('B05', 'ENOENT', lambda: os.stat(M + '/nosuch/HEAD'))):
        expect_sys(row, want, fn)
    for name in ('.ctl.swp', '4913', 'ctl~', '#ctl#'):
        t = time.monotonic()
        expect_sys('A19', 'EPERM', lambda: os.open(j(name), os.O_CREAT | os.O_WRONLY, 0o600))
        if time.monotonic() - t > 0.05:
            bad.append('A19: took %.3f s' % (time.monotonic() - t))
    if digest() != before:
        bad.append('calls: the store has changed')
    # F03 counts what it drops, F06 keeps what is whole, F12: nothing of a failed write
    fd = os.open(j('captures.jsonl'), os.O_WRONLY)
    expect_sys('F03', 'EMSGSIZE', lambda: [os.write(fd, b'x' * 100000) for _ in range(12)])
    os.close(fd)
    expect('F03', 'sentence', '-', '-', said('one/captures.jsonl'), 'capture larger than 1000000 bytes')
    expect('F03', 'status', '-', '-', open(j('status')).read(), 'dropped_oversize 1')


os.mkdir(WORK + '/folder.kolm')
os.mkfifo(WORK + '/fifo.kolm')
os.symlink(art, WORK + '/link.kolm')
os.symlink(WORK + '/self.kolm', WORK + '/self.kolm')
open(WORK + '/text.kolm', 'w').write('this is a text and no artifact, as anybody can see who looks at it\n' * 9)
os.makedirs(os.path.join(S, 'tune/one/revisions/v9'))
writes()
states()
calls()
for line in bad:
    print(line)
print('ran: %d rows of %d ids, seed %s, %d times' % (len(WRITES) + len(STATES), len({r[0] for r in WRITES + STATES}), SEED, tried))
sys.exit(bool(bad))
