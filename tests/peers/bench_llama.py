"""bench_llama.py MODEL.gguf [LORA.gguf]: llama.cpp through llama-cpp-python, answering the commands of tests/bench/lm_engine.c on 2 threads.
What prompts have in common stays in its cache, as it does in ours."""
import sys, time
import numpy as np
import llama_cpp as L

m = L.Llama(sys.argv[1], n_ctx=1024, n_batch=512, n_ubatch=512, n_threads=2, n_threads_batch=2, lora_path=sys.argv[2] if len(sys.argv) > 2 else None,
            logits_all=True, verbose=False)
memory = L.llama_get_memory(m.ctx)
tokens = lambda text: m.tokenize(text.encode(), add_bos=False, special=True)
end = tokens('<|im_end|>')[0]
sequence = [(1000 + i * 7919) % m.n_vocab() for i in range(1024)]
cached = []


def keep(n):
    L.llama_memory_seq_rm(memory, 0, n, -1)
    m.n_tokens = n


def run(ids, every=False):
    m._logits_all = every
    m.eval(ids)


def last():
    return np.ctypeslib.as_array(L.llama_get_logits_ith(m.ctx, -1), shape=(m.n_vocab(),))


def prompt(text):
    """the prompt behind what it shares with the one before"""
    global cached
    ids = tokens('<|im_start|>user\n' + text + '<|im_end|>\n<|im_start|>assistant\n')
    n = 0
    while n < min(len(ids) - 1, len(cached)) and ids[n] == cached[n]:
        n += 1
    keep(n)
    run(ids[n:])
    cached = ids
    return ids


def log_softmax(x):
    x = x.astype(np.float64)
    x = x - x.max()
    return x - np.log(np.exp(x).sum())


def choose(line):
    text, *choices = line.split('\t')
    labels = [tokens(c) + [end] for c in choices]
    n, first = len(prompt(text)), log_softmax(last())
    score = []
    for ids in labels:
        s = first[ids[0]]
        if len(ids) > 1:
            keep(n)
            run(ids[:-1], True)
            for j in range(1, len(ids)):
                s += log_softmax(np.array(m._scores[n + j - 1]))[ids[j]]
        score.append(s)
    return int(np.argmax(score))


def generate(most, text):
    prompt(text)
    n = 0
    while True:
        id_ = int(np.argmax(last()))
        if id_ == end:
            return n
        n += 1
        if n == most:
            return n
        run([id_])


for line in sys.stdin:
    word, rest = line.rstrip('\n').replace('\\n', '\n').split(' ', 1)
    extra = ''
    if word in ('prefill', 'decode'):
        n, cached = int(rest), []
        keep(0)
        if word == 'decode':
            run(sequence[:32])
    began = time.time()
    if word == 'prefill':
        run(sequence[:n])
    elif word == 'decode':
        for i in range(n):
            run([sequence[32 + i]])
    elif word == 'choose':
        extra = choose(rest)
    elif word == 'generate':
        most, text = rest.split(' ', 1)
        extra = generate(int(most), text)
    print('%.3f %s' % ((time.time() - began) * 1e3, extra), flush=True)
