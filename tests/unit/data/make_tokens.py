#!/usr/bin/env python3
"""Make lm_tokens.json: token ids of nasty strings by the reference library (pip install tokenizers==0.21 or later).

make_tokens.py MODEL.gguf > lm_tokens.json

"gguf" holds ids for the base model's own tokenizer, rebuilt from its vocabulary and merges; "json" holds small tokenizers
trained here (kept whole, so that the reader of tokenizer.json is tested too), each with its ids.
"""
import json
import struct
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

WORDS = "the quick brown fox it's don't we'll I'm they've you'd cat's"
TEXTS = [
    "", " ", "  ", "   ", "\n", "\n\n", " \n", "\n ", "\t", "\t\t x", "\r\n", "a", " a", "  a", "a ", "a  ", "a\n", "a \n b",
    "Hello world", " Hello  world ", "Hello, world!", WORDS, WORDS.upper(), "It'S DON'T we'Ll", "'s", "'", "''", " '", "x's y't",
    "0", "12", "123", "1234567890", " 12", "a1b22c333", "3.14159", "1,000,000", "\u0661\u0662\u0663", "\u00bd\u00b2\u2167", "v1.2.3-rc4",
    "caf\u00e9", "cafe\u0301", "na\u00efve co\u00f6p", "\u00fc\u00dc\u00df", "\u4f60\u597d\u4e16\u754c", "\u3053\u3093\u306b\u3061\u306f",
    "\uc548\ub155", "\u041f\u0440\u0438\u0432\u0435\u0442", "\u0645\u0631\u062d\u0628\u0627", "\u05e9\u05dc\u05d5\u05dd", "\u0928\u092e\u0938\u094d\u0924\u0947",
    "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "a\u0300\u0301\u0302", "\u200b", "a\u200bb", "\ufeff", "a\ufeffb",
    "\u00a0", "a\u00a0b", "\u2003x", "\u3000", "x\u3000\u3000y", "\u1680", "\u180e", "a\u180eb", "\u2028", "\u2029x", "\u0085", "x\u0085y", "\u001c", "\u0000", "a\u0000b",
    "\u0001\u0002", "\u001b[0m", "\u007f", "!!!", "?!?", "...", "\u2026", "\u201cquoted\u201d", "--", "\u2014", "a-b_c", "a/b\\c", "foo(bar)", "{\"a\": [1, 2]}",
    "def f(x):\n    return x+1\n", "\tif (a) {\n\t\tb();\n\t}", "a=b;c!=d&&e||f", "<html><body>", "&amp;", "#include <stdio.h>", "x++--y", "C:\\dir\\file",
    "https://example.org/a?b=c&d=%20", "me@example.com", "@user #tag $5 50% ^_^ ~/.x", "   leading", "trailing   ", "in   between", "a    b     c",
    "\n\n\nx\n\n", " \n \n ", "x \t y", "\u1e9e\u0130\u0131", "\u017ft 'ſ", "I\u2019m", "\ufb01ne", "\u212b\u00c5A\u030a", "\u1100\u1161", "\uff21\uff22\uff11\uff12",
    "\ue000", "\U0010ffff", "\ufffd", "\u0378", "abc" * 40, "a" * 100, " " * 33, "=" * 50, "\n" * 20, "aA1 " * 12, "\u00e9" * 30,
    "<|im_start|>", "<|im_start|>user\nhi<|im_end|>\n", "<|im_end|><|im_end|>", " <|im_start|> ", "<|im_start", "<|endoftext|>x", "<repo_name>a<file_sep>b", "<s>", "</s>a", "[INST]",
    "Ticket 48: Bob Stone called on Monday about invoice 9153.", "The \u20ac5.00 (\u00a34) price\u2122", "mixed \u4e2d\u6587 and English 123\u5e74",
]


def gguf_metadata(path):
    data = open(path, "rb").read()
    at = 8

    def read(fmt):
        nonlocal at
        value = struct.unpack_from("<" + fmt, data, at)[0]
        at += struct.calcsize("<" + fmt)
        return value

    def text():
        nonlocal at
        n = read("Q")
        at += n
        return data[at - n:at].decode()

    def value(kind):
        if kind == 8:
            return text()
        if kind == 9:
            item, n = read("I"), read("Q")
            return [value(item) for _ in range(n)]
        return read({0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}[kind])

    read("Q")
    n = read("Q")
    return {text(): value(read("I")) for _ in range(n)}


def smollm(path):
    meta = gguf_metadata(path)
    assert meta["tokenizer.ggml.pre"] == "smollm"
    tokens = meta["tokenizer.ggml.tokens"]
    merges = [tuple(m.split(" ")) for m in meta["tokenizer.ggml.merges"]]
    tk = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tk.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    special = [t for t, kind in zip(tokens, meta["tokenizer.ggml.token_type"]) if kind == 3]
    plain = Tokenizer.from_str(tk.to_str())
    tk.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in special])
    return tk, plain


LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def small(name):
    corpus = [WORDS] * 8 + TEXTS
    if name == "bytelevel":
        tk = Tokenizer(models.BPE())
        tk.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)
    elif name == "llama3":
        tk = Tokenizer(models.BPE(ignore_merges=True))
        tk.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
                                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    elif name == "qwen2":
        tk = Tokenizer(models.BPE())
        tk.normalizer = normalizers.NFC()
        tk.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3.replace("{1,3}", "")), "removed", invert=True),
                                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    else:
        tk = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        if name == "llama2":
            tk.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
        else:
            tk.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    if "level" in name or name in ("llama3", "qwen2"):
        trainer = trainers.BpeTrainer(vocab_size=420, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<|im_start|>", "<|im_end|>"])
        tk.train_from_iterator(corpus, trainer)
        return tk
    trainer = trainers.BpeTrainer(vocab_size=420, show_progress=False, special_tokens=["<unk>", "<s>", "</s>"] + ["<0x%02X>" % i for i in range(256)], limit_alphabet=60)
    tk.train_from_iterator([WORDS, "Hello world 123", "def f(x): return x"] * 3, trainer)
    root = json.loads(tk.to_str())
    root["added_tokens"] = [t for t in root["added_tokens"] if not t["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(root))


def cases(tk, texts):
    return [{"text": t, "ids": tk.encode(t, add_special_tokens=False).ids} for t in texts if "\0" not in t]


def main():
    full, plain = smollm(sys.argv[1])
    out = {"gguf": {"special": cases(full, TEXTS), "plain": cases(plain, [t for t in TEXTS if "<" in t])}, "json": []}
    for name in ("bytelevel", "llama3", "qwen2", "llama2", "metaspace"):
        tk = small(name)
        out["json"].append({"name": name, "tokenizer": json.loads(tk.to_str()), "cases": cases(tk, TEXTS)})
    text = json.dumps(out, ensure_ascii=True, separators=(",", ":"))
    print(text.replace('{"text"', '\n{"text"').replace('{"name"', '\n{"name"'))


main()
