# bad_input.py MOUNT STORE WORK SEED [all] - for bad-input.sh: the rows of BAD-INPUTS that a mount can be given, a table with a row per id. Each must give its errno and its
# sentence, leave the store's digest as it was, and the server alive within a second. Every row is written with and without a line feed; a sample chosen by SEED (with `all`: every row)
# also as the tenth command on a handle and from 32 clients at once. Prints a line for each row that does not hold, and at last how many were tried.
import errno, hashlib, json, os, random, re, shutil, stat, sys, threading, time
from bad_rows import M, S, STATES, WORK, WRITES

SEED, ALL = sys.argv[4], 'all' in sys.argv[5:]
bad, tried = [], 0


def content(path):
    if '/revisions/' in path:
        st = os.lstat(path)
        return str((st.st_size, st.st_mtime_ns))
    text = open(path, 'rb').read()
    if path == S + '/logs/tune.jsonl':  # F08: that we put a slug's rows back is written down by the server itself within five seconds
        text = b''.join(line for line in text.splitlines(True) if b'"captures_replaced"' not in line)
    return hashlib.sha256(text).hexdigest()


def digest(gate=False, job=False):
    """of each file of the store; with `gate` without the audit log, where the gate's refusals stand; with `job` without what a job leaves of itself"""
    files = {}
    for at, _, names in os.walk(S):
        for n in names:
            path = os.path.join(at, n)
            if 'lock' in n or n == '.tune.tip' or ((gate or job) and at.endswith('/logs')) or (job and '/jobs' in path) or not stat.S_ISREG(os.lstat(path).st_mode):
                continue
            files[path] = content(path)
    return files


def expect_same(row, before, now):
    changed = sorted(p[len(S) + 1:] for p in before.keys() | now.keys() if before.get(p) != now.get(p))
    if changed:
        bad.append('%s: the store has changed: %s' % (row, ' '.join(changed)))


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
        bad.append('%s %s: "%s" is not in "%s"' % (row, how, part, sentence[-400:]))


def alive(row):
    t = time.monotonic()
    with open(os.path.join(M, 'rag/ctl'), 'wb', buffering=0) as f:
        f.write(b'# alive\n')
    if not open(os.path.join(M, 'version')).read().startswith('kolmfs') or time.monotonic() - t > 1:
        bad.append('%s: the server was not there within a second' % row)


def one_write(row, path, data, how, before=0):
    """(errno, sentence) of one write, `before` others came on this handle"""
    is_rows = not path.endswith('ctl')
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


def many(row, fn, want, part):
    got = []
    ths = [threading.Thread(target=lambda: got.append(fn())) for _ in range(32)]
    for th in ths:
        th.start()
    for th in ths:
        th.join()
    for name, sentence in got:
        expect(row, 'one of 32 clients', name, want, sentence, part)


def sampled(table):
    """numbers of the rows that are also tried from 32 clients and as a tenth command"""
    return set(range(len(table)) if ALL else random.Random(int(SEED)).sample(range(len(table)), len(table) // 6))


def writes():
    sample = sampled(WRITES)
    base_digest, gate_digest = digest(), digest(True)
    for i, (row, path, text, want, part) in enumerate(WRITES):
        data = text if isinstance(text, bytes) else text.encode()
        for tail in (b'', b'\n'):
            if path.endswith('.jsonl') and not tail:
                continue
            name, sentence = one_write(row, path, data + tail, repr(tail))
            expect(row, 'with the ending %r' % tail, name, want, sentence, part)
            if path.endswith('ctl') and part and part not in said(path):
                bad.append('%s: `error` says "%s"' % (row, said(path)))
        if i in sample:
            name, sentence = one_write(row, path, data, 'tenth', 9)
            expect(row, 'as the tenth command', name, want, sentence, part)
            many(row, lambda: one_write(row, path, data + b'\n', '32 clients'), want, part)
        alive(row)
        is_gate = part.startswith('K_GATE')
        expect_same(row, gate_digest if is_gate else base_digest, digest(is_gate))
        base_digest, gate_digest = digest(), digest(True)


def probed(row, probe, part, before=0):
    """(errno, sentence) of reading a file, of a command, or what the job of a command ends with"""
    if not isinstance(probe, str):
        got, sentence = one_write(row, probe[0], probe[1].encode(), 'state', before)
        if probe[2:] and got == '-':
            sentence = open(os.path.join(M, os.path.dirname(probe[0]), 'wait')).read()
        return got, sentence
    try:
        with open(os.path.join(M, probe)) as f:
            return '-', f.read()
    except OSError as e:
        return errno.errorcode[e.errno], said(probe) if part else ''


def one_state(row, slug, damage, probe, want, part, in_sample):
    d = os.path.join(S, 'tune', slug)
    is_gate, is_job = row in ('E05', 'E07', 'E08'), not isinstance(probe, str) and len(probe) > 2
    shutil.copytree(d, WORK + '/kept', symlinks=True)
    undo = damage(d)
    before = digest(is_gate, is_job)
    t = time.monotonic()
    got, sentence = probed(row, probe, part)
    if time.monotonic() - t > (20 if is_job else 2):
        bad.append('%s: took %.1f s' % (row, time.monotonic() - t))
    expect(row, probe, got, want, sentence, part)
    if in_sample and not is_job:
        got, sentence = probed(row, probe, part, 9)
        expect(row, 'as the tenth command', got, want, sentence, part)
        many(row, lambda: probed(row, probe, part), want, part)
    if part and os.path.isdir(d) and part.split(':')[0] not in open(os.path.join(M, slug, 'status')).read() and row in ('H01', 'H02', 'H03', 'H04', 'G01'):
        bad.append('%s: status does not say it' % row)
    alive(row)
    expect_same('%s %s' % (row, probe), before, digest(is_gate, is_job))
    if callable(undo):
        undo()
    shutil.rmtree(d, ignore_errors=True)
    os.rename(WORK + '/kept', d)
    if open(os.path.join(M, slug, 'HEAD')).read() not in ('v0\n', 'v1\n'):
        bad.append('%s: not well again afterwards' % row)


def states():
    sample = sampled(STATES)
    for i, (row, slug, damage, probe, want, part) in enumerate(STATES):
        one_state(row, slug, damage, probe, want, part, i in sample)


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
            ('B05', 'ENOENT', lambda: os.stat(M + '/nosuch/HEAD')), ('F11', 'ENOENT', lambda: os.open(M + '/nosuch/ctl', os.O_WRONLY))):
        expect_sys(row, want, fn)
    for name in ('.ctl.swp', '4913', 'ctl~', '#ctl#'):
        t = time.monotonic()
        expect_sys('A19', 'EPERM', lambda: os.open(j(name), os.O_CREAT | os.O_WRONLY, 0o600))
        if time.monotonic() - t > 0.05:
            bad.append('A19: took %.3f s' % (time.monotonic() - t))
    # F11 for who has the ctl open already: init is undone meanwhile
    fd = os.open(M + '/bare/ctl', os.O_RDWR)
    os.rename(S + '/tune/bare', S + '/tune/.bare')
    got, sentence = write(fd, b'capture on')
    expect('F11', 'on an open ctl', got, 'ENOENT', sentence, 'not initialised')
    os.rename(S + '/tune/.bare', S + '/tune/bare')
    os.close(fd)
    expect_same('calls', before, digest())
    # G04: what means nothing here is kept, by a whole new text and by `set`
    text = json.dumps(dict(json.load(open(M + '/bare/tune-config.json')), later={'a': [1, None]}))
    with open(M + '/bare/tune-config.json', 'w') as f:
        f.write(text)
    expect('G04', '`error`', '-', '-', said('bare/ctl'), 'ok')
    with open(M + '/bare/ctl', 'w') as f:
        f.write('set gate.k_min 0.25')
    kept = json.load(open(M + '/bare/tune-config.json'))
    expect('G04', 'unknown keys', '-', '-', json.dumps([kept.get('later'), kept['gate']['k_min']]), '[{"a": [1, null]}, 0.25]')
    # F03 counts what it drops, F06 keeps what is whole, F12: nothing of a failed write
    fd = os.open(j('captures.jsonl'), os.O_WRONLY)
    expect_sys('F03', 'EMSGSIZE', lambda: [os.write(fd, b'x' * 100000) for _ in range(12)])
    os.close(fd)
    expect('F03', 'sentence', '-', '-', said('one/captures.jsonl'), 'capture larger than 1000000 bytes')
    expect('F03', 'status', '-', '-', open(j('status')).read(), 'dropped_oversize 1')


def documented():
    """each errno a row ends with stands in kolmfs(5), with the file or among the errors of any file"""
    page = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../man/kolmfs.5')).read()
    entries = re.split(r'(?m)^\.It Pa (.*)\n', page.split('.Sh FILES')[1].split('.Sh EXAMPLES')[0])
    entries = dict(zip(entries[1::2], entries[2::2]))
    of_any = page.split('.Sh ERRORS OF ANY FILE')[1].split('.Sh SEE ALSO')[0]
    asked = [(row, path, want) for row, path, _, want, _ in WRITES] + [(row, p if isinstance(p, str) else p[0], want) for row, _, _, p, want, _ in STATES]
    for row, path, want in asked:
        name = path if path in entries else re.sub('^[a-z]+/', '<slug>/', path)
        if want != '-' and not re.search(r'\b%s\b' % want, entries[name] + of_any):
            bad.append('%s: kolmfs(5) does not know %s of %s' % (row, want, name))


writes()
states()
calls()
documented()
for line in bad:
    print(line)
print('ran: %d rows of %d ids, seed %s, %d times' % (len(WRITES) + len(STATES), len({r[0] for r in WRITES + STATES}), SEED, tried))
sys.exit(bool(bad))
