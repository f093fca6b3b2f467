"""A step as it is asked for: from the command, or the write to ctl, to the end of the first optimizer step; and several trainers at once."""
import os, shutil, subprocess, tempfile, threading, time
from engine import BUILD, MODEL, captures, train

EXAMPLE = 'examples/redactor/'


def run(env, *argv):
    subprocess.run([BUILD + '/bin/kolm', *argv], env=env, check=True, stdout=subprocess.DEVNULL)


def slug(work, rows):
    """a store with the redactor's example, its base and some of its captures; (environment, artifact, folder of the slug)"""
    env = dict(os.environ, KOLM_HOME=work + '/store', HOME=work)
    art = work + '/redactor.kolm'
    os.mkdir(work + '/store', 0o700)
    run(env, 'compile', '--spec', EXAMPLE + 'spec.json', '--examples', EXAMPLE + 'cases.jsonl', '--out', art, '--allow-below-gate')
    run(env, 'tune', 'init', '--artifact', art, '--base', MODEL)
    tune = work + '/store/tune/redactor'
    with open(EXAMPLE + 'corrected.jsonl') as f, open(tune + '/captures.jsonl', 'a') as out:
        out.writelines(f.readlines()[:rows])
    return env, art, tune


def first_step(tune, began, job, patience=60):
    """seconds until the worker has told the end of its first step, by the job's log"""
    path = '%s/jobs/%d/log' % (tune, job)
    while time.time() - began < patience:
        try:
            with open(path) as f:
                if '"event":"progress","step":1,' in f.read():
                    return time.time() - began
        except FileNotFoundError:
            pass
        time.sleep(0.002)
    raise RuntimeError('no step within %d s' % patience)


def by_command(env, art, tune, job):
    began = time.time()
    p = subprocess.Popen([BUILD + '/bin/kolm', 'tune', 'step', '--artifact', art, '--epochs', '1'], env=env, stdout=subprocess.DEVNULL)
    took = first_step(tune, began, job)
    if p.wait() != 0:
        raise RuntimeError('kolm tune step ended with %d' % p.returncode)
    return took


def by_ctl(env, tune, work, job):
    mount = work + '/mnt'
    os.mkdir(mount)
    server = subprocess.Popen([BUILD + '/bin/kolmfs', '-f', work + '/store', mount], env=env, stderr=subprocess.DEVNULL)
    try:
        while not os.path.exists(mount + '/version'):
            if server.poll() is not None:
                raise RuntimeError('kolmfs ended with %d' % server.returncode)
            time.sleep(0.02)
        began = time.time()
        with open(mount + '/redactor/ctl', 'w') as f:
            f.write('step epochs=1 from=v0 rows=all\n')
        took = first_step(tune, began, job)
        with open(mount + '/redactor/wait') as f:
            f.read()
        return took
    finally:
        server.terminate()
        server.wait()


def asked_for():
    """seconds to the end of the first step by kolm and by ctl"""
    work = tempfile.mkdtemp(prefix='kolm-bench.')
    try:
        env, art, tune = slug(work, 24)
        return by_command(env, art, tune, 1), by_ctl(env, tune, work, 2)
    finally:
        shutil.rmtree(work)


def at_once(work):
    """rows/s of two trainers at the same time, together, against one alone"""
    rows, rate = captures()[:40], {}
    alone = train(rows, work, 'alone')['rows_s']

    def one(name):
        folder = os.path.join(work, name)
        os.mkdir(folder)
        rate[name] = train(rows, folder, 'out')['rows_s']

    both = [threading.Thread(target=one, args=(name,)) for name in ('left', 'right')]
    for t in both:
        t.start()
    for t in both:
        t.join()
    return (rate['left'] + rate['right']) / alone
