"""make bench: what the engine does alone on this machine; the ratios to others are bench-peers'."""
import os, signal, subprocess, tempfile, time
from engine import *
from whole import asked_for, at_once


def share(rows):
    """Why the vector kernels stay where they are: the roof is the same innermost products with nothing to unpack and all operands in the
    second-level cache. They do not reach the peak of a loop in registers; unpacking, and what comes from further away, is the rest."""
    engine = ours(MODEL)
    roof, gemm = engine.ask('roof'), engine.ask('gemm 256')
    more = gemm[2].split() if len(gemm) > 2 else []
    both = lambda one, all_: '%.0f %%, %.0f %%' % (100 * float(one), 100 * float(all_))
    rows.append(('GEMM of the FMA peak, dequantisation included: 1 thread, all', '80 %', '90 %', both(*gemm[:2])))
    rows.append(('  the innermost products alone, without dequantisation', '', '', both(*roof[:2])))
    if more:
        rows.append(('  as training has it here (tiles where there are some)', '80 %', '90 %', both(*more[:2])))
    engine.close()


def hogged(work):
    rows = captures()[:24]
    alone = train(rows, work, 'one', threads=1)['rows_s']
    hog = subprocess.Popen(['taskset', '-c', '1', 'sh', '-c', 'while :; do :; done'])
    try:
        both = train(rows, work, 'hogged', threads=2)['rows_s']
    finally:
        hog.kill()
        hog.wait()
    return both / alone


def serve(rows, adapter):
    base, tuned = ours(MODEL), ours(MODEL, adapter)
    for n in (64, 512):
        rows.append(('prefill, %d tokens, tok/s' % n, '', '', '%.0f' % (n * 1e3 / median([base.ms('prefill %d' % n) for _ in range(5)]))))
    for name, engine in (('decode', base), ('decode with an adapter', tuned)):
        rows.append((name + ', tok/s', '', '', '%.0f' % (64e3 / median([engine.ms('decode 64') for _ in range(3)]))))
    copy = []
    for r in captures()[200:206]:
        tuned.ask('generate 1 ' + r['prompt'])
        ms, n = tuned.ask('generate 64 ' + r['prompt'])[:2]
        copy.append(int(n) * 1e3 / float(ms))
    rows.append(('decode of outputs that copy the input, tok/s', '', '', '%.0f' % median(copy)))
    tuned.ask(choose_line('hello'))
    rows.append(('choose among 6 labels, prompts of 18 tokens, adapter on, p50', '80 ms', '40 ms',
                 '%.0f ms' % median([tuned.ms(choose_line(s)) for s in sentences(15, 8, 2)])))
    twelve = [tuned.ask('generate 12 ' + s) for s in sentences(15, 22, 3)]
    rows.append(('12 tokens out after 30 in, adapter on, p50', '160 ms', '110 ms', '%.0f ms' % median([float(t[0]) for t in twelve if int(t[1]) >= 11])))
    base.close()
    tuned.close()


def main():
    rows = []
    with tempfile.TemporaryDirectory(prefix='kolm-bench.') as work:
        share(rows)
        asks = train(asked()[:44], work, 'asks')
        rows.append(('training, captures with a common instruction, rows/s', '', '', '%.2f' % asks['rows_s']))
        tuned = train(captures()[:120], work, 'tuned')
        rows.append(('training, the same with long answers, rows/s', '', '', '%.2f' % tuned['rows_s']))
        flat = train(uniform(44), work, 'flat')
        rows.append(('training, equal-length rows without a common prefix, rows/s', '', '', '%.2f' % flat['rows_s']))
        rows.append(('peak memory of a step', '0.5 GB', '0.35 GB', '%.2f GB' % (max(tuned['mb'], flat['mb']) / 1e3)))
        rows.append(('command to the end of the first optimizer step', '1 s', '0.3 s', '%.2f s' % min(asks['first'], tuned['first'], flat['first'])))
        rows.append(('  the same asked of kolm tune step; of ctl', '1 s', '0.3 s', '%.2f s; %.2f s' % asked_for()))
        serve(rows, tuned['out'])
        rows.append(('one core hogged, of the one-thread rate', '0.90', '1.30', '%.2f' % hogged(work)))
        rows.append(('two trainers at once, together, of one alone', '0.90', '', '%.2f' % at_once(work)))
    table(rows)


main()
