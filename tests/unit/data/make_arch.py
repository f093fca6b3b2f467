#!/usr/bin/env python3
"""Make arch/: a tiny random model of each architecture, as safetensors and as GGUF, and what transformers and PEFT say of it.

Needs torch, transformers, peft, safetensors, gguf (`make peers` installs them). Run once, the results are kept:

    make_arch.py DIR        DIR/NAME/{config.json,model*.safetensors,tokenizer.json,adapter/,golden.safetensors,golden.json}, DIR/NAME.gguf

Every matrix lies on the grid q / 256, q in -127..127: bfloat16 (safetensors) and Q8_0 (GGUF) both hold it exactly, so that one golden
serves both. Norms and biases are F32 in both files.
"""
import json
import os
import shutil
import sys

import gguf
import numpy as np
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

VOCAB, ROWS = 104, ((24, 11), (17, 9))
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
COMMON = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
              max_position_embeddings=128, bos_token_id=None, eos_token_id=2, pad_token_id=None)
LLAMA3 = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}

T = transformers
MODELS = {
    "llama": (T.LlamaConfig, T.LlamaForCausalLM, dict(rope_parameters=LLAMA3)),
    "llama_linear": (T.LlamaConfig, T.LlamaForCausalLM, dict(rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
                                                             tie_word_embeddings=True)),
    "mistral": (T.MistralConfig, T.MistralForCausalLM, dict(sliding_window=6, head_dim=8)),
    "qwen2": (T.Qwen2Config, T.Qwen2ForCausalLM, dict(tie_word_embeddings=True)),
    "qwen3": (T.Qwen3Config, T.Qwen3ForCausalLM, dict(head_dim=16)),
    "smollm3": (T.SmolLM3Config, T.SmolLM3ForCausalLM, dict(num_hidden_layers=4, tie_word_embeddings=True)),
    "gemma": (T.GemmaConfig, T.GemmaForCausalLM, dict(head_dim=16, num_key_value_heads=1)),
    "gemma2": (T.Gemma2Config, T.Gemma2ForCausalLM, dict(head_dim=16, sliding_window=6, query_pre_attn_scalar=16, attn_logit_softcapping=2.0,
                                                         final_logit_softcapping=3.0)),
    "gemma3": (T.Gemma3TextConfig, T.Gemma3ForCausalLM, dict(num_hidden_layers=6, head_dim=16, sliding_window=6, query_pre_attn_scalar=16,
                                                             num_key_value_heads=1)),
}
GEMMA3_ROPE = {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
               "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}


def grid(model, gen):
    """random weights on the grid; norms and biases anywhere"""
    state = {}
    for name, p in model.named_parameters():
        x = torch.randn(p.shape, generator=gen)
        if p.ndim == 2:
            scale = 0.6 if "embed" in name or "lm_head" in name else 1.2
            state[name] = (x * scale / p.shape[1] ** 0.5 * 256).round().clamp(-127, 127) / 256
        else:
            centre = 0.0 if name.endswith("bias") or "Gemma" in type(model).__name__ else 1.0
            state[name] = centre + 0.2 * x
    model.load_state_dict(state, strict=False)
    model.tie_weights()
    return state


def tokenizer(path):
    """one printable ASCII character a token, "th", three control tokens"""
    chars = [chr(c) for c in range(33, 127)] + ["\u0120", "\u010a", "th"]
    vocab = {t: i for i, t in enumerate(SPECIAL + chars)}
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for i, t in enumerate(SPECIAL)]
    root = {"version": "1.0", "added_tokens": added, "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "post_processor": None, "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": ["t h"]}}
    with open(os.path.join(path, "tokenizer.json"), "w") as f:
        json.dump(root, f, ensure_ascii=False, separators=(",", ":"))
    with open(os.path.join(path, "tokenizer_config.json"), "w") as f:
        json.dump({"eos_token": "<|im_end|>"}, f)
    return list(vocab)


def permute(w, heads):
    """rows of q and k as GGUF's llama has them: the halves of each head interleaved"""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


NAMES = [("input_layernorm", "attn_norm"), ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"),
         ("self_attn.o_proj", "attn_output"), ("self_attn.q_norm", "attn_q_norm"), ("self_attn.k_norm", "attn_k_norm"),
         ("mlp.gate_proj", "ffn_gate"), ("mlp.up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down")]


def gguf_name(name, gemma23):
    base, kind = name.rsplit(".", 1)
    base = base.removeprefix("model.")
    if base in ("embed_tokens", "norm"):
        return {"embed_tokens": "token_embd", "norm": "output_norm"}[base] + "." + kind
    if base == "lm_head":
        return "output." + kind
    _, layer, part = base.split(".", 2)
    more = [("post_attention_layernorm", "post_attention_norm"), ("pre_feedforward_layernorm", "ffn_norm"),
            ("post_feedforward_layernorm", "post_ffw_norm")] if gemma23 else [("post_attention_layernorm", "ffn_norm")]
    return "blk.%s.%s.%s" % (layer, dict(NAMES + more)[part], kind)


def write_gguf(path, name, config, state, tokens):
    arch = {"llama_linear": "llama", "mistral": "llama"}.get(name, name)
    w = gguf.GGUFWriter(path, arch, split_max_tensors=12 if name == "qwen3" else 0)
    w.add_block_count(config.num_hidden_layers)
    w.add_context_length(config.max_position_embeddings)
    w.add_embedding_length(config.hidden_size)
    w.add_feed_forward_length(config.intermediate_size)
    w.add_head_count(config.num_attention_heads)
    w.add_head_count_kv(config.num_key_value_heads)
    w.add_layer_norm_rms_eps(config.rms_norm_eps)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    w.add_key_length(head_dim)
    w.add_value_length(head_dim)
    w.add_rope_dimension_count(head_dim)
    rope = config.rope_parameters
    rope = rope.get("full_attention", rope)
    w.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(rope["factor"])
    if name in ("mistral", "gemma2", "gemma3"):
        w.add_sliding_window(config.sliding_window)
    if name == "gemma2":
        w.add_attn_logit_softcapping(config.attn_logit_softcapping)
        w.add_final_logit_softcapping(config.final_logit_softcapping)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    unused = ["[PAD%d]" % i for i in range(len(tokens), VOCAB)]
    w.add_token_list(tokens + unused)
    w.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)) + [5] * len(unused))
    w.add_token_merges(["t h"])
    w.add_eos_token_id(2)
    if rope["rope_type"] == "llama3":
        half, factors = head_dim // 2, []
        for i in range(half):
            freq = rope["rope_theta"] ** (-2.0 * i / head_dim)
            wave = 2 * np.pi / freq
            low, high, old = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
            smooth = (old / wave - low) / (high - low)
            factors.append(1.0 if wave < old / high else rope["factor"] if wave > old / low else 1 / ((1 - smooth) / rope["factor"] + smooth))
        w.add_tensor("rope_freqs.weight", np.array(factors, dtype=np.float32))
    for key, x in state.items():
        x = x.float().numpy()
        if x.ndim == 1:
            if arch.startswith("gemma") and "norm" in key:
                x = x + np.float32(1)
            if arch in ("llama", "smollm3") and key.endswith(("q_proj.bias", "k_proj.bias")):
                x = permute(x, config.num_attention_heads if "q_proj" in key else config.num_key_value_heads)
            w.add_tensor(gguf_name(key, name in ("gemma2", "gemma3")), x.astype(np.float32))
            continue
        if arch in ("llama", "smollm3") and key.endswith(("q_proj.weight", "k_proj.weight")):
            x = permute(x, config.num_attention_heads if "q_proj" in key else config.num_key_value_heads)
        q = np.round(x * 256).astype(np.int8).reshape(x.shape[0], -1, 32)
        d = np.full(q.shape[:2] + (1,), 1 / 256, dtype=np.float16).view(np.int8)
        w.add_tensor(gguf_name(key, name in ("gemma2", "gemma3")), np.concatenate([d, q], axis=2).reshape(x.shape[0], -1).view(np.uint8),
                     raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def golden(model, gen):
    """rows, their loss and the gradients of an adapter on every module; logits with and without it"""
    rows = [{"tokens": torch.randint(3, VOCAB - 5, (n,), generator=gen).tolist(), "answer": a} for n, a in ROWS]
    out = {"logits": model(torch.tensor([rows[0]["tokens"]])).logits[0].detach().clone()}
    tuned = get_peft_model(model, LoraConfig(r=2, lora_alpha=3, target_modules=TARGETS, lora_dropout=0.0, task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, p in tuned.named_parameters():
            if "lora_" in name:
                p.copy_(torch.randn(p.shape, generator=gen) * (0.3 if "lora_A" in name else 0.2))
    out["adapted"] = tuned(torch.tensor([rows[0]["tokens"]])).logits[0, -6:].detach().clone()
    total, n = 0, 0
    for row in rows:
        ids = torch.tensor([row["tokens"]])
        logits = tuned(ids).logits[0, row["answer"] - 1:-1]
        total = total + torch.nn.functional.cross_entropy(logits, ids[0, row["answer"]:], reduction="sum")
        n += len(row["tokens"]) - row["answer"]
    loss = total / n
    loss.backward()
    for name, p in tuned.named_parameters():
        if p.grad is not None:
            out["grad." + name.replace(".default", "")] = p.grad.clone()
    return rows, float(loss), out, tuned


def make(base, name):
    config_class, model_class, more = MODELS[name]
    path = os.path.join(base, name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    gen = torch.Generator().manual_seed(sum(map(ord, name)))
    if name == "gemma3":
        more = dict(more, rope_parameters=GEMMA3_ROPE)
    config = config_class(**{**COMMON, **more})
    config._attn_implementation = "eager"
    model = model_class(config).float().eval()
    state = grid(model, gen)
    tokens = tokenizer(path)
    config.save_pretrained(path)
    half = {k: v.to(torch.bfloat16) if v.ndim == 2 else v.float() for k, v in state.items()}
    if name == "llama_linear":
        keys = sorted(half)
        parts = [keys[: len(keys) // 2], keys[len(keys) // 2:]]
        where = {}
        for i, part in enumerate(parts):
            file = "model-%05d-of-%05d.safetensors" % (i + 1, len(parts))
            save_file({k: half[k].contiguous() for k in part}, os.path.join(path, file), metadata={"format": "pt"})
            where.update({k: file for k in part})
        with open(os.path.join(path, "model.safetensors.index.json"), "w") as f:
            json.dump({"metadata": {}, "weight_map": where}, f)
    else:
        save_file({k: v.contiguous() for k, v in half.items()}, os.path.join(path, "model.safetensors"), metadata={"format": "pt"})
    write_gguf(os.path.join(base, name + ".gguf"), name, config, state, tokens)
    rows, loss, out, tuned = golden(model, gen)
    tuned.save_pretrained(os.path.join(path, "adapter"))
    os.remove(os.path.join(path, "adapter", "README.md"))
    save_file({k: v.contiguous() for k, v in out.items()}, os.path.join(path, "golden.safetensors"))
    with open(os.path.join(path, "golden.json"), "w") as f:
        json.dump({"rows": rows, "loss": loss}, f)
    print(name, "loss", loss, "logits up to", float(out["logits"].abs().max()))


for model_name in sys.argv[2:] or MODELS:
    make(sys.argv[1], model_name)
