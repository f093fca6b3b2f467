"""What bench.py and peers.py share: the data, our engine as a child that answers commands, a training run under the clock."""
import importlib.util, json, os, random, subprocess, sys, tempfile, time

BUILD = os.path.abspath(os.environ.get('BUILD', 'build'))
MODEL = os.environ['MODEL']
LABELS = ['billing', 'delivery', 'account', 'technical', 'returns', 'feedback']
WORDS = ('time people year way day man thing woman life child world school state family student group country problem hand part place case '
         'week company system program question work government number night point home water room mother area money story fact month lot '
         'right study book eye job word business issue side kind head house service friend father power hour game line end member law car '
         'city community name president team minute idea body information back parent face others level office door health person art war '
         'history party result change morning reason research girl guy moment air teacher force education').split()
INSTRUCTION = 'Replace every personal name in the text with [NAME] and repeat the text.\n\nText: '


def median(v):
    return sorted(v)[len(v) // 2]


def asked():
    """rows as 'kolm tune' makes them of the redactor's corrected captures: what its recipe asks the model, the names that are the right
    answer, and no system text of its own, so the template's"""
    spec = importlib.util.spec_from_file_location('examples', 'tools/check-examples.py')
    examples = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(examples)
    rules, rows = examples.redactor_rules('examples/redactor/recipe.js'), []
    for where, r in examples.read_lines('examples/redactor/corrected.jsonl', ['input', 'output']):
        names = examples.redactor_names(where, r['input']['text'], r['output']['text'], rules)
        rows.append(dict(system=None, prompt='Names of people, or none:\n' + examples.mask(r['input']['text'], rules),
                         answer='; '.join(names) or 'none'))
    return rows


def captures():
    """the redactor's corrected captures with an instruction to repeat the text: long answers that copy"""
    with open('examples/redactor/corrected.jsonl') as f:
        rows = [json.loads(line) for line in f]
    return [dict(system='', prompt=INSTRUCTION + r['input']['text'], answer=' ' + r['output']['text']) for r in rows]


def uniform(n):
    """rows of equal length that begin with different words"""
    rng = random.Random(1)
    return [dict(system='', prompt=' '.join(rng.choices(WORDS, k=80)), answer=' '.join(rng.choices(WORDS, k=12))) for _ in range(n)]


def sentences(n, words, seed):
    rng = random.Random(seed)
    return [' '.join(rng.choices(WORDS, k=words)) for _ in range(n)]


class Child:
    """a program that answers each line with one line"""
    def __init__(self, argv):
        self.p = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def ask(self, line):
        self.p.stdin.write(line.replace('\n', '\\n') + '\n')
        self.p.stdin.flush()
        said = self.p.stdout.readline()
        if not said:
            raise RuntimeError('%s ended at "%s"' % (self.p.args[0], line[:60]))
        return said.split(None, 2)

    def ms(self, line):
        return float(self.ask(line)[0])

    def close(self):
        self.p.stdin.close()
        self.p.wait()


def ours(model, adapter='-', threads=None):
    return Child([BUILD + '/bench/lm_engine', model, adapter] + ([str(threads)] if threads else []))


def choose_line(text):
    return 'choose ' + '\t'.join([text + '\nQueue:'] + [' ' + l for l in LABELS])


def train(rows, work, out, epochs=1, threads=2, warm=3):
    """one run of kolm-trainer: rows/s behind ${warm} steps, seconds to the end of step 1, peak MB, the adapter's folder"""
    out = os.path.join(work, out)
    os.makedirs(out, exist_ok=True)
    with open(work + '/rows.jsonl', 'w') as f:
        for i, r in enumerate(rows):
            f.write(json.dumps(dict(r, row=i, call=0)) + '\n')
    with open(work + '/tune-config.json', 'w') as f:
        json.dump(dict(base_model='smollm2', base_path=MODEL, rank=8, alpha=16, dropout=0), f)
    env = dict(os.environ, KOLM_ROWS=work + '/rows.jsonl', KOLM_THREADS=str(threads))
    began = time.time()
    p = subprocess.Popen([BUILD + '/bin/kolm-trainer', '--tune-dir', work, '--captures', work + '/none', '--out-dir', out, '--prev', 'v0',
                          '--epochs', str(epochs), '--batch-size', '4', '--lr', '1e-3', '--airgap'], stdout=subprocess.PIPE, env=env, text=True)
    at, result, first = {}, {}, None
    for line in p.stdout:
        said = json.loads(line)
        if said.get('event') == 'progress' and said['step'] not in at:
            at[said['step']] = time.time()
            first = first or (time.time() - began if said['step'] == 1 else None)
        result = said
    if p.wait() != 0 or not result.get('ok'):
        raise RuntimeError('kolm-trainer: %s' % result)
    last = max(at)
    return dict(rows_s=4 * (last - warm) / (at[last] - at[warm]), tok_s=None, first=first, mb=result['peak_bytes'] / 1e6, out=out)


def table(rows):
    """(what, must, aim, reached)"""
    print('\n%-62s %10s %10s  %s' % ('what', 'must', 'aim', 'reached'))
    for what, must, aim, got in rows:
        print('%-62s %10s %10s  %s' % (what, must, aim, got))
