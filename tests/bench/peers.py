"""make bench-peers: the issue's table. The same rows, prompts and files through PEFT and llama.cpp, in turns with ours in one run."""
import json, os, subprocess, tempfile
from engine import *

PYTHON = BUILD + '/peers/bin/python'
KIT = 'tests/peers/'


def run(*argv):
    p = subprocess.run([PYTHON] + list(argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if p.returncode:
        raise RuntimeError('%s: %s' % (argv[0], p.stderr[-600:]))
    return p.stdout


def prepare(work):
    """the base as PEFT reads it and in other quantisations, kept under build/"""
    data = BUILD + '/bench-data'
    os.makedirs(data, exist_ok=True)
    run(KIT + 'bench_files.py', MODEL, data)
    return data


def training(rows, work, data, name, captured, musts):
    with open(work + '/kit.jsonl', 'w') as f:
        f.writelines(json.dumps(r) + '\n' for r in captured)
    peft = lambda *more: json.loads(run(KIT + 'bench_peft.py', work + '/kit.jsonl', data + '/hf', *more))
    a = train(captured, work, 'a_' + name)
    full = peft()
    b = train(captured, work, 'b_' + name)
    tail = peft('--tail')
    c = train(captured, work, 'c_' + name)
    mine = median([a['rows_s'], b['rows_s'], c['rows_s']])
    rows.append(('training, %s, rows/s against PEFT' % name, *musts, '%.1fx (%.2f : %.2f)' % (mine / full['rows_s'], mine, full['rows_s'])))
    rows.append(('  the same against a head only where the loss is', '', '', '%.1fx (%.2f)' % (mine / tail['rows_s'], tail['rows_s'])))
    return a, b, full


def ratios(mine, theirs, line, tokens, turns):
    """tok/s of both, in turns"""
    m, t = [], []
    for _ in range(turns):
        m.append(mine.ms(line))
        t.append(theirs.ms(line))
    return tokens * 1e3 / median(m), tokens * 1e3 / median(t)


def against(rows, what, musts, pair):
    rows.append((what, *musts, '%.1fx (%.0f : %.0f)' % (pair[0] / pair[1], *pair)))


def serving(rows, data, adapter, lora):
    llama = lambda model, *more: Child([PYTHON, KIT + 'bench_llama.py', model, *more])
    for kind, path, must, aim in (('Q4_1', MODEL, '2x', '4x'), ('Q8_0', data + '/Q8_0.gguf', '1.3x', '3x'), ('Q4_0', data + '/Q4_0.gguf', '1.2x', '2x'),
                                  ('Q4_K_M', data + '/Q4_K_M.gguf', '', ''), ('BF16', data + '/BF16.gguf', '', '')):
        mine, theirs = ours(path), llama(path)
        for e in (mine, theirs):
            e.ask('prefill 64')
        for n in (64, 512):
            against(rows, 'prefill %d against llama.cpp, %s, tok/s' % (n, kind), (must, aim), ratios(mine, theirs, 'prefill %d' % n, n, 5))
        against(rows, 'decode against llama.cpp, %s, tok/s' % kind, ('1.2x', '2x') if must else ('', ''), ratios(mine, theirs, 'decode 48', 48, 5))
        mine.close()
        theirs.close()
    mine, theirs = ours(MODEL, adapter), llama(MODEL, lora)
    against(rows, 'decode with an adapter, tok/s', ('1.3x', '2.2x'), ratios(mine, theirs, 'decode 48', 48, 5))
    copies = [[], []]
    for r in captures()[200:208]:
        for e, list_ in ((mine, copies[0]), (theirs, copies[1])):
            e.ask('generate 1 ' + r['prompt'])
            ms, n = e.ask('generate 64 ' + r['prompt'])[:2]
            list_.append(int(n) * 1e3 / float(ms))
    against(rows, 'decode of outputs that copy the input, tok/s', ('2x', '4x'), (median(copies[0]), median(copies[1])))
    for what, must, aim, lines in (
            ('choose among 6 labels, prompts of 18 tokens, adapter on, p50', '80 ms', '40 ms', [choose_line(s) for s in sentences(12, 8, 2)]),
            ('12 tokens out after 30 in, adapter on, p50', '160 ms', '110 ms', ['generate 12 ' + s for s in sentences(12, 22, 3)])):
        both = [[], []]
        for line in lines:
            both[0].append(mine.ms(line))
            both[1].append(theirs.ms(line))
        rows.append((what, must, aim, '%.0f ms (llama.cpp %.0f ms)' % (median(both[0][1:]), median(both[1][1:]))))
    mine.close()
    theirs.close()


def all_training(rows, work, data):
    a, b, full = training(rows, work, data, 'real captures, common instruction', asked()[:44], ('3x', '5x'))
    training(rows, work, data, 'the same with long answers', captures()[:44], ('', ''))
    training(rows, work, data, 'equal length, no common prefix', uniform(44), ('1.7x', '2x'))
    rows.append(('peak memory of a step', '0.5 GB', '0.35 GB', '%.2f GB (PEFT %.1f GB)' % (a['mb'] / 1e3, full['mb'] / 1e3)))
    rows.append(('command to the end of the first optimizer step', '1 s', '0.3 s', '%.2f s (PEFT %.1f s)' % (min(a['first'], b['first']), full['first'])))


def main():
    rows = []
    with tempfile.TemporaryDirectory(prefix='kolm-bench.') as work:
        data = prepare(work)
        if os.environ.get('ONLY') != 'serving':  # make bench-peers ONLY=serving
            all_training(rows, work, data)
        tuned = train(captures()[:120], work, 'tuned')['out']
        run(KIT + 'bench_files.py', '--lora', tuned, work + '/lora.gguf')
        serving(rows, data, tuned, work + '/lora.gguf')
    table(rows)


main()
