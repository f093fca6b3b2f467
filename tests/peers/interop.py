#!/usr/bin/env python3
"""interop.py BUILD MODEL TREE - our engine beside the real packages: PEFT loads our adapter and gives our logits, an adapter PEFT trained
loads here and gives PEFT's, llama.cpp loads our GGUF adapter and our merged GGUF and gives our greedy text. Exit 1 with what differed."""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

BUILD, MODEL, TREE = (os.path.abspath(p) for p in sys.argv[1:4])
TINY = os.path.join(TREE, "tests/unit/data/peft/tiny")
LOGITS_RELATIVE = 2e-5
work = tempfile.mkdtemp()
failed = 0
transformers.logging.set_verbosity_error()


def check(name, good, detail):
    global failed
    failed += not good
    print(f"{'ok' if good else 'FAILED'}  {name}: {detail}", flush=True)


def kolm(*words, env=None):
    done = subprocess.run([f"{BUILD}/bin/kolm", *words], env={**os.environ, "HOME": work, **(env or {})}, capture_output=True, text=True, timeout=900)
    if done.returncode:
        sys.exit(f"kolm {' '.join(words)}: {done.stderr}")
    return done.stdout


def ours(mode, base, adapter, lines):
    done = subprocess.run([f"{BUILD}/peers/lm_ask", mode, base, adapter], input="".join(f"{x}\n" for x in lines).encode(), capture_output=True, timeout=900)
    if done.returncode:
        sys.exit(done.stderr.decode())
    return done.stdout


def our_logits(base, adapter, tokens, vocab):
    raw = ours("logits", base, adapter, [" ".join(map(str, t)) for t in tokens])
    flat, at, out = np.frombuffer(raw, dtype=np.float32), 0, []
    for t in tokens:
        out.append(flat[at:at + len(t) * vocab].reshape(len(t), vocab))
        at += len(t) * vocab
    return out


def apart(a, b):
    return max(float(np.abs(x - y).max() / np.abs(y).max()) for x, y in zip(a, b))


def their_logits(model, tokens):
    model.eval()
    with torch.no_grad():
        return [model(input_ids=torch.tensor([t])).logits[0].float().numpy() for t in tokens]


SPEC = {"job_id": "job_kind", "task": "fruit or animal", "base_model": "none",
        "recipes": [{"id": "rcp_kind", "name": "kind", "source": "function generate(i, lib) { if (!lib.lm) return 'no model'; return lib.lm.generate('Is this a fruit or an animal? ' + i, {max_tokens: 24}); }"}],
        "evals": {"cases": [{"id": "a", "input": "plum", "expected": "a plum is a fruit"}]}}
WORDS = {"apple": "fruit", "dog": "animal", "cherry": "fruit", "cow": "animal", "grape": "fruit", "cat": "animal", "peach": "fruit", "wolf": "animal",
         "lemon": "fruit", "goat": "animal", "mango": "fruit", "fox": "animal"}


def train(slug, base, epochs):
    """A revision trained by kolm: the folder of its adapter."""
    kolm("tune", "init", "--artifact", f"{work}/kind.kolm", "--slug", slug, "--base", base)
    with open(f"{work}/.kolm/tune/{slug}/captures.jsonl", "w") as f:
        for word, kind in WORDS.items():
            f.write(json.dumps({"input": word, "output": f"{'an' if word[0] in 'ao' else 'a'} {word} is {'a' if kind == 'fruit' else 'an'} {kind}"}) + "\n")
    kolm("tune", "step", "--artifact", f"{work}/kind.kolm", "--slug", slug, "--epochs", str(epochs))
    return f"{work}/.kolm/tune/{slug}/revisions/v1"


with open(f"{work}/spec.json", "w") as f:
    json.dump(SPEC, f)
kolm("compile", "--spec", f"{work}/spec.json", "--out", f"{work}/kind.kolm", "--allow-below-gate")

# PEFT loads our adapter, and we PEFT's, on a folder of float weights
tokenizer = AutoTokenizer.from_pretrained(TINY)
tokens = [tokenizer(t)["input_ids"] for t in ("Is this a fruit or an animal? apple", "The quick brown fox jumps over 13 lazy dogs.", "a")]
adapter = train("tiny", TINY, 3)
base = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32)
theirs = their_logits(PeftModel.from_pretrained(base, adapter), tokens)
far = apart(our_logits(TINY, adapter, tokens, theirs[0].shape[1]), theirs)
check("PEFT loads our adapter and gives our logits", far <= LOGITS_RELATIVE, f"{far:.1e} of the largest logit")
torch.manual_seed(1)
base = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32)
model = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "up_proj"], task_type="CAUSAL_LM"))
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
ids = torch.tensor([tokens[1]])
for _ in range(10):
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
model.save_pretrained(f"{work}/peft")
theirs = their_logits(model, tokens)
bare = our_logits(TINY, "-", tokens, theirs[0].shape[1])
far = apart(our_logits(TINY, f"{work}/peft", tokens, theirs[0].shape[1]), theirs)
check("an adapter PEFT trained gives PEFT's logits here", far <= LOGITS_RELATIVE and apart(bare, theirs) > 1e-3,
      f"{far:.1e} of the largest logit; without it {apart(bare, theirs):.1e}")

# llama.cpp, on the real quantised base
import llama_cpp

adapter = train("real", MODEL, 6)
kolm("tune", "export", "--artifact", f"{work}/kind.kolm", "--slug", "real", "--rev", "v1", "--to", "gguf", "--out", f"{work}/a.gguf")
kolm("tune", "export", "--artifact", f"{work}/kind.kolm", "--slug", "real", "--rev", "v1", "--to", "merged", "--out", f"{work}/m.gguf")
prompts = [f"Is this a fruit or an animal? {w}" for w in list(WORDS) + ["otter", "plum", "crow", "fig"]]
mine = [json.loads(x) for x in ours("answer", MODEL, adapter, [json.dumps(p) for p in prompts]).decode().splitlines()]
base_says = [json.loads(x) for x in ours("answer", MODEL, "-", [json.dumps(p) for p in prompts]).decode().splitlines()]
for name, words in (("GGUF adapter", {"model_path": MODEL, "lora_path": f"{work}/a.gguf"}), ("merged GGUF", {"model_path": f"{work}/m.gguf"})):
    llm = llama_cpp.Llama(n_ctx=512, n_threads=2, verbose=False, **words)
    system = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    said = []
    for p in prompts:
        text = f"{system}<|im_start|>user\n{p}<|im_end|>\n<|im_start|>assistant\n"
        llm.reset()
        out = llm.create_completion(llm.tokenize(text.encode(), add_bos=False, special=True), max_tokens=24, temperature=0, stop=["<|im_end|>"])
        said.append(out["choices"][0]["text"])
    same = sum(a == b for a, b in zip(said, mine))
    check(f"llama.cpp loads our {name} and gives our greedy text", same == len(prompts),
          f"{same} of {len(prompts)} answers; the base alone would share {sum(a == b for a, b in zip(said, base_says))}")
    for a, b, p in zip(said, mine, prompts):
        if a != b:
            print(f"    {p!r}: llama.cpp {a!r}, ours {b!r}")
sys.exit(failed != 0)
