# bad_rows.py - for bad_input.py: the rows of BAD-INPUTS that a mount can be given. Each names its row, so that tests/cli/rows.sh sees which are tried.
import hashlib, hmac, json, os, shutil, subprocess, sys, time, zipfile

M, S, WORK = sys.argv[1:4]
one, two, four, bare, root, rag = 'one/ctl', 'two/ctl', 'four/ctl', 'bare/ctl', 'ctl', 'rag/ctl'
art, base = WORK + '/two.kolm', WORK + '/base.gguf'
init = lambda rest, artifact=art: 'init %s %s' % (artifact, rest)


def sha(data):
    return hashlib.sha256(data).hexdigest()


def canonical(o):
    return json.dumps(o, sort_keys=True, separators=(',', ':')).encode()


def craft(name, cases):
    """an artifact of the oldest kind with these cases, under the secret everybody knows: no compiler of ours makes one with bad cases"""
    recipes = b'{"recipes":[{"id":"r","source":"function generate(i) { return i; }"}]}'
    evals = json.dumps({'cases': cases}).encode()
    hashes = {'model_pointer': sha(b''), 'recipes_json': sha(recipes), 'lora_bin': sha(b''), 'index_bin': sha(b''), 'evals_json': sha(evals)}
    manifest = json.dumps({'spec': 'kolm-1', 'job_id': 'job_t', 'task': 't', 'eval_score': 1, 'judge_id': 'j', 'hashes': hashes}).encode()
    sig = {'spec': 'kolm-1', 'job_id': 'job_t', 'manifest_hash': sha(manifest), 'artifact_hash': sha(canonical({'manifest_hash': sha(manifest), **{k + '_hash': v for k, v in hashes.items()}})), 'eval_set_hash': sha(evals),
           'eval_score': 1, 'judge_id': 'j'}
    sig.update(hmac_alg='HMAC-SHA256', hmac=hmac.new(b'kolm-public-fixture-v0-1-0', canonical(sig), 'sha256').hexdigest())
    with zipfile.ZipFile(WORK + '/' + name, 'w') as z:
        for n, data in (('manifest.json', manifest), ('recipes.json', recipes), ('evals.json', evals), ('signature.sig', canonical(sig))):
            z.writestr(n, data)


def case(n, **more):
    return dict({'id': 'c%d' % n, 'input': n, 'expected': n}, **more)


craft('bare.kolm', [])
craft('lacking.kolm', [case(0), case(1), case(2), case(3), {'id': 'c4', 'input': 1}])
craft('noinput.kolm', [case(0), {'id': 'c1', 'expected': 1}])
craft('twice.kolm', [case(0), case(1), case(0)])
os.mkdir(WORK + '/folder.kolm')
os.mkfifo(WORK + '/fifo.kolm')
os.symlink(art, WORK + '/link.kolm')
os.symlink(WORK + '/self.kolm', WORK + '/self.kolm')
open(WORK + '/text.kolm', 'w').write('this is a text and no artifact, as anybody can see who looks at it\n' * 9)
os.makedirs(os.path.join(S, 'tune/one/revisions/v9'))
with open(os.path.join(M, 'ctl'), 'w') as f:
    f.write(init('base=%s/base slug=bare' % WORK, WORK + '/bare.kolm'))
CONFIG = json.load(open(os.path.join(M, 'two/tune-config.json')))
whole = lambda **more: json.dumps(dict(CONFIG, **more))
settings = 'two/tune-config.json'

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
    ('E01', bare, 'eval v0', 'EINVAL', 'no eval cases: nothing to measure'),
    ('E02', root, init('base=%s slug=three' % base, WORK + '/lacking.kolm'), 'EBADMSG', 'case 4: expected missing'),
    ('E02', root, init('base=%s slug=three' % base, WORK + '/noinput.kolm'), 'EBADMSG', 'case 1: input missing'),
    ('E03', root, init('base=%s slug=three' % base, WORK + '/twice.kolm'), 'EBADMSG', 'duplicate case id'),
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
    ('B08', settings, whole(artifact_path=M + '/README'), 'EINVAL', 'inside this mount'),
    ('B08', settings, whole(base_path=M + '/one/../version'), 'EINVAL', 'base_path: '),
    ('G01', settings, whole(later='x' * 65536), 'EFBIG', 'tune-config.json larger than 65536 bytes'),
    ('G01', settings, '[]', 'EINVAL', 'must be one JSON object'),
    ('G01', settings, whole() + '{}', 'EUCLEAN', 'tune-config.json is damaged: JSON: text after the value'),
    ('G01', settings, '{"rank": 8, }', 'EUCLEAN', 'tune-config.json is damaged'),
    ('G02', settings, whole(rank='8'), 'EUCLEAN', 'rank: whole number expected'),
    ('G02', settings, whole(captures_on='yes'), 'EUCLEAN', 'captures_on'),
    ('G02', settings, whole(watch=[]), 'EUCLEAN', 'watch'),
    ('G03', settings, whole(watch={'threshold_rows': 10**12}), 'ERANGE', 'threshold_rows: 1 to 1000000'),
    ('G03', settings, whole(dropout=1.5), 'ERANGE', 'dropout'),
    ('G05', settings, whole(generation=CONFIG['generation'] + 2), 'ESTALE', 'config is at generation %d, edit was made on %d' % (CONFIG['generation'], CONFIG['generation'] + 2)),
    ('G06', settings, whole(target_modules=[]), 'EINVAL', 'target_modules: empty'),
    ('G06', settings, whole(target_modules=['q_proj', 'q_proj']), 'EINVAL', 'target_modules: "q_proj" twice'),
    ('H06', 'one/ctl', 'promote v9', 'ENOENT', 'v9 is incomplete'),
    ('K-', rag, 'index %s/nothing' % WORK, 'ENOENT', 'nothing'),
    ('K-', rag, 'index %s mode=zzz' % WORK, 'EINVAL', 'mode "zzz" is not known; there are rag-bm25-1 and kolm-2'),
    ('K-', rag, 'index %s mode=kolm-2 lang=xx' % WORK, 'EINVAL', 'lang: no stemmer for "xx"; there are: '),
    ('K-', rag, 'index %s lang=de' % WORK, 'EINVAL', 'mode rag-bm25-1 has no languages'),
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


def back(at):
    """an undo: of what does not lie in the slug's folder"""
    kept = WORK + '/before'
    shutil.copy2(at, kept)
    return lambda: os.replace(kept, at)


def artifact_gone(d):
    undo = back(art)
    os.unlink(art)
    return undo


def artifact_other(d):
    undo = back(art)
    shutil.copy(WORK + '/other.kolm', art)
    return undo


def artifact_folder(d):
    undo = artifact_gone(d)
    os.mkdir(art)

    def mend():
        os.rmdir(art)
        undo()
    return mend


def artifact_link(d):
    undo = artifact_gone(d)
    os.symlink(WORK + '/other.kolm', art)
    return undo


def edit(name, **changes):
    """members of a JSON file, `a__b` is b of a; of the configuration no good copy is left"""
    def damage(d):
        path = os.path.join(d, name)
        doc = json.load(open(path))
        for key, value in changes.items():
            *way, last = key.split('__')
            o = doc
            for n in way:
                o = o[n]
            o[last] = value
        json.dump(doc, open(path, 'w'))
        if os.path.exists(path + '.prev'):
            os.unlink(path + '.prev')
    return damage


def both(*fns):
    return lambda d: [fn(d) for fn in fns] and None


def worker(script):
    """from now on four's worker is this, in sh"""
    def damage(d):
        at, undo = WORK + '/worker', back(S + '/config.json')
        with open(at, 'w') as f:
            f.write('#!/bin/sh\n' + script)
        os.chmod(at, 0o755)
        edit('config.json', workers={'four': {'command': at, 'reads': [WORK]}})(S)
        return undo
    return damage


def wordy(d):
    """a worker of more words than there is room for"""
    undo = back(S + '/config.json')
    edit('config.json', workers={'four': 'true' + ' word' * 48})(S)
    return undo


def slow_step(d):
    """a step whose worker sleeps runs meanwhile"""
    undo_config = worker('echo "{\\"event\\":\\"progress\\",\\"step\\":1,\\"of\\":2}"\nexec sleep 60\n')(d)
    with open(os.path.join(M, four), 'w') as f:
        f.write('step from=v0')
    while 'progress 1 2 steps' not in open(os.path.join(M, 'four/status')).read():
        time.sleep(0.02)

    def undo():
        with open(os.path.join(M, four), 'w') as f:
            f.write('cancel')
        open(os.path.join(M, 'four/wait')).read()
        undo_config()
    return undo


LOG = S + '/logs/tune.jsonl'


def log_cut(d):
    undo = back(LOG)
    os.truncate(LOG, 100)
    return undo


def log_gone(d):
    undo = back(LOG)
    os.unlink(LOG)
    return undo


def log_folder(d):
    undo = log_gone(d)
    os.mkdir(LOG)

    def mend():
        os.rmdir(LOG)
        undo()
    return mend


v1_eval, tune_config = 'revisions/v1/eval.json', 'tune-config.json'
score = json.load(open(os.path.join(M, 'four', v1_eval)))['k']


def gate(k):
    return both(edit(tune_config, gate__k_min=k), edit(v1_eval, settings__gate_k_min=k, k_score__gate=k))


# id, slug, what happened to its folder in the store, what is tried (a file that is read, a ctl and its command, or a command and 'job' when it is its job that fails), errno, part.
# What happened may return how it is undone outside of that folder.
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
    ('B06', 'two', artifact_folder, (two, 'eval'), 'EISDIR', 'is a folder, not a regular file'),
    ('B07', 'two', artifact_link, (two, 'promote v1'), 'ELOOP', 'symbolic link'),
    ('B10', 'two', artifact_gone, (two, 'eval'), 'ENOENT', 'artifact is gone: '),
    ('B10', 'two', artifact_gone, (two, 'promote v1'), 'ENOENT', ' was '),
    ('B11', 'two', artifact_other, (two, 'eval'), 'ESTALE', 'artifact changed since init'),
    ('B11', 'two', artifact_other, (two, 'promote v1'), 'ESTALE', 'artifact changed since init'),
    ('E06', 'four', edit(tune_config, gate__k_min=0.5), (four, 'promote v1'), 'ESTALE', 'eval is out of date: the gate settings changed'),
    ('E06', 'four', edit(v1_eval, adapter_sha256='0' * 64), (four, 'promote v1'), 'ESTALE', 'eval is out of date: the adapter of v1 changed'),
    ('E06', 'four', edit(v1_eval, artifact__sha256='0' * 64), (four, 'promote v1'), 'ESTALE', 'eval is out of date: the artifact or its cases changed'),
    ('E07', 'four', gate(round(score + 0.0001, 4)), (four, 'promote v1'), 'ERANGE', 'K_GATE: %.4f < %.4f' % (score, score + 0.0001)),
    ('E08', 'four', both(gate(0.1), edit(v1_eval, compared__accuracy=1.0, compared__k=0.99)), (four, 'promote v1'), 'ERANGE', 'of HEAD v0'),
    ('E09', 'four', edit(tune_config, gate__k_min=1.1), (four, 'promote v1'), 'ERANGE', 'gate: number from 0 to 1'),
    ('E09', 'four', edit(tune_config, gate__k_min='0.85'), (four, 'promote v1'), 'EINVAL', 'gate: number from 0 to 1'),
    ('E13', 'four', slow_step, (four, 'promote v1 force'), 'EBUSY', '(step) is running'),
    ('I19', 'four', slow_step, (four, 'step'), 'EBUSY', '(step) is running'),
    ('I16', 'four', worker('kill -9 $$\n'), (four, 'cycle', 'job'), '-', 'cycle crashed:SIGKILL rev=- '),
    ('I16', 'four', worker('kill -9 $$\n'), (four, 'step from=v0', 'job'), '-', 'error=trainer was killed (signal 9)'),
    ('I16', 'four', worker('exit 0\n'), (four, 'cycle', 'job'), '-', 'error=trainer ended with status 0 and no result'),
    ('I16', 'four', worker('echo no JSON at all\nexit 3\n'), (four, 'cycle', 'job'), '-', 'error=trainer ended with status 3 and no result'),
    ('I16', 'four', worker('exec head -c 3000000 /dev/zero\n'), (four, 'cycle', 'job'), '-', 'error=trainer ended with status 0 and no result'),
    ('I16', 'four', worker('echo \'{"ok":true}\'\n'), (four, 'cycle', 'job'), '-', 'error=trainer left no adapter_config.json'),
    ('I16', 'four', worker('echo \'{"ok":true}\'\nexit 1\n'), (four, 'cycle', 'job'), '-', 'failed rev=- '),
    ('I16', 'four', wordy, (four, 'step from=v0', 'job'), '-', 'error=the worker of "four" in config.json has more than 48 words; give it a script'),
    ('I16', 'four', worker('exit 64\n'), (four, 'cycle', 'job'), '-', 'error=training library missing: '),
    ('I17', 'four', worker('exec python3 -c "import socket; socket.socket()"\n'), (four, 'cycle', 'job'), '-', 'error=egress attempt: socket'),
    ('I18', 'four', worker('for w; do [ "$o" != --out-dir ] || out=$w; o=$w; done\nln -s /etc/passwd "$out/adapter_config.json"\necho \'{"ok":true}\'\n'), (four, 'cycle', 'job'), '-',
     'error=trainer named a path outside'),
    ('F02', 'two', put('captures.jsonl', b'{"input":"cut he{"input":1,"output":2}\n{"input":3,"output":4}\n'), 'two/status', '-', 'salvaged 1\n'),
    ('F02', 'two', put('captures.jsonl', b'{"input":"cut he{"input":1,"output":2}\n{"input":3,"output":4}\n'), 'two/status', '-', 'captures 2\n'),
    ('F05', 'two', put('captures.jsonl', b'\0' * 5000 + b'\n{"input":3,"output":4}\n'), 'two/status', '-', 'captures 1\n'),
    ('F05', 'two', put('captures.jsonl', b'x' * 1100000), 'two/status', '-', 'captures 0\n'),
    ('G06', 'four', edit(tune_config, target_modules=['q_prj']), (four, 'step from=v0', 'job'), '-', 'target_modules: "q_prj" not in base (have q_proj'),
    ('G06', 'four', edit(tune_config, target_modules=[]), (four, 'step'), 'EINVAL', 'target_modules: empty'),
    ('G07', 'four', edit(tune_config, base_model='another/base'), (four, 'step from=v0', 'job'), '-', 'base differs from v0'),
    ('K15', 'four', log_cut, (four, 'capture on'), 'EUCLEAN', 'audit log was cut: last known line '),
    ('K15', 'four', log_gone, (four, 'capture on'), 'EUCLEAN', 'audit log was cut: last known line '),
    ('K15', 'four', log_folder, (four, 'capture on'), 'EUCLEAN', 'audit log was cut: '),
    ('B05', 'one', shutil.rmtree, 'one/HEAD', 'ENOENT', None),
    ('F10', 'two', put('captures.jsonl', b'{}\n[]\nx\n'), (two, 'step'), 'ENODATA', 'no usable captures'),
]
