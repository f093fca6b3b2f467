#!/usr/bin/env python3
"""Make (and check) the PEFT golden files of lm_train_golden.c.

Needs torch, transformers, peft, tokenizers, safetensors (build/peers/bin/python of `make check-peers` has them). Run once; the
results are kept beside this script:

    make_peft_golden.py fixture DIR     tiny/ (random llama), adapter/ (written by PEFT)
    make_peft_golden.py golden DIR      from those, with PEFT: golden.safetensors, golden.json (logits, gradients, 50 steps)
    make_peft_golden.py check DIR OURS  load OURS (a folder kolm wrote: adapter files and logits.safetensors) with PEFT, compare logits
"""
import copy
import json
import math
import os
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

STEPS, LR, ROWS, BATCH = 50, 5e-3, 20, 4
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def tokenizer(path):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tok.train_from_iterator(
        ["please replace the name and the phone number in the text and return the text only"],
        trainers.BpeTrainer(vocab_size=288, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()),
    )
    tok.save(os.path.join(path, "tokenizer.json"))
    template = (
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    with open(os.path.join(path, "tokenizer_config.json"), "w") as f:
        json.dump({"chat_template": template, "eos_token": "<|im_end|>", "tokenizer_class": "PreTrainedTokenizerFast"}, f)
    return tok.get_vocab_size()


def rows(vocab):
    gen = torch.Generator().manual_seed(3)
    head = torch.randint(0, vocab, (6,), generator=gen).tolist()
    out = []
    for i in range(ROWS):
        length, answer = ((20, 12), (15, 9), (26, 14), (18, 10))[i % 4]
        out.append({"tokens": head + torch.randint(0, vocab, (length - 6,), generator=gen).tolist(), "answer": answer})
    return out


def loss_of(model, data):
    total, count = 0.0, 0
    for row in data:
        ids = torch.tensor([row["tokens"]])
        logits = model(input_ids=ids).logits[0, row["answer"] - 1 : -1]
        total = total + torch.nn.functional.cross_entropy(logits, ids[0, row["answer"] :], reduction="sum")
        count += len(row["tokens"]) - row["answer"]
    return total / count


def rate(step, steps):
    warm = math.ceil(steps / 20)
    return LR * step / warm if step <= warm else LR * (steps - step + 1) / (steps - warm)


def order():
    """rows of each step: every epoch all of them, in an order of its own"""
    gen, out = torch.Generator().manual_seed(5), []
    while len(out) < STEPS:
        epoch = torch.randperm(ROWS, generator=gen).tolist()
        out += [epoch[i : i + BATCH] for i in range(0, ROWS, BATCH)]
    return out[:STEPS]


def fixture(out):
    torch.manual_seed(1)
    tiny = os.path.join(out, "tiny")
    os.makedirs(tiny, exist_ok=True)
    vocab = tokenizer(tiny)
    config = LlamaConfig(
        vocab_size=vocab, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=256, rope_theta=10000.0, rms_norm_eps=1e-5, tie_word_embeddings=True, initializer_range=0.2,
        bos_token_id=0, eos_token_id=2,
    )
    base = LlamaForCausalLM(config)
    for name, p in base.named_parameters():
        if "norm" in name:
            p.data = 1 + 0.3 * torch.randn_like(p)
        p.data = p.data.to(torch.bfloat16).to(torch.float32)
    copy.deepcopy(base).to(torch.bfloat16).save_pretrained(tiny)  # a copy: .to() rounds the rotary frequencies too
    model = get_peft_model(base, LoraConfig(r=2, lora_alpha=4, lora_dropout=0.0, target_modules=TARGETS, task_type="CAUSAL_LM"))
    for name, p in model.named_parameters():
        if "lora_B" in name:
            p.data = 0.1 * torch.randn_like(p)
    model.save_pretrained(os.path.join(out, "adapter"), safe_serialization=True)


def golden(out):
    torch.set_num_threads(1)
    base = LlamaForCausalLM.from_pretrained(os.path.join(out, "tiny"), dtype=torch.float32)
    model = PeftModel.from_pretrained(base, os.path.join(out, "adapter"), is_trainable=True)
    data, steps = rows(base.config.vocab_size), order()
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([data[2]["tokens"]])).logits[0].contiguous()
    params = {n: p for n, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(params.values(), lr=LR, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    losses, tensors = [], {"logits": logits}
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        loss = loss_of(model, [data[i] for i in steps[step - 1]])
        loss.backward()
        losses.append(loss.item())
        norm = torch.nn.utils.clip_grad_norm_(params.values(), 1.0)
        if step == 1:
            print("gradient norm", norm.item())
            for name, p in params.items():
                tensors["grad." + name.replace(".default", "")] = p.grad.clone()
        for group in optimizer.param_groups:
            group["lr"] = rate(step, STEPS)
        optimizer.step()
    for name, p in params.items():
        tensors["final." + name.replace(".default", "")] = p.data.clone()
    save_file(tensors, os.path.join(out, "golden.safetensors"))
    with open(os.path.join(out, "golden.json"), "w") as f:
        json.dump({"lr": LR, "rows": data, "order": steps, "losses": losses, "logits_row": 2}, f)
    print("losses", losses)


def check(out, ours):
    data = json.load(open(os.path.join(out, "golden.json")))["rows"]
    base = LlamaForCausalLM.from_pretrained(os.path.join(out, "tiny"), dtype=torch.float32)
    model = PeftModel.from_pretrained(base, ours)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([data[2]["tokens"]])).logits[0]
    have = load_file(os.path.join(ours, "logits.safetensors"))["logits"]
    worst = ((logits - have).abs().max() / logits.abs().max()).item()
    print("worst difference, relative to the largest logit: %.3g" % worst)
    sys.exit(worst > 2e-5)


if __name__ == "__main__":
    {"fixture": fixture, "golden": golden, "check": check}[sys.argv[1]](*sys.argv[2:])
