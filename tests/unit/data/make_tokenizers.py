#!/usr/bin/env python3
"""Make tokenizers/: a small tokenizer of each family and its ids for some hundred nasty strings by the reference library.

Needs tokenizers, sentencepiece (`make peers` installs the first; pip the second). Run once, the results are kept:

    make_tokenizers.py DIR      DIR/texts.json: the strings; DIR/NAME.json: {"tokenizer": tokenizer.json, "special": ids with added tokens
                                recognised, "plain": ids with special ones split, as lists in the order of the strings};
                                DIR/spm.json: a SentencePiece model as GGUF holds it (tokens, scores, types) and its ids
"""
import io
import json
import os
import random
import sys

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SEED, COUNT = 20260, 560
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + r"+|[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER
          + r"*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
MARK = "\u2581"

WORDS = ("the of and to in is you that it he was for on are as with his they I at be this have from or one had by word but not what all were "
         "we when your can said there use an each which she do how their if will up other about out many then them these so some her would make "
         "like him into time has look two more write go see number no way could people my than first water been call who oil its now find long "
         "down day did get come made may part don't it's we'll I'm they've you'd can't price invoice ticket phone customer order email address "
         "def return class import print function const let var null true false").split()
PIECES = [
    " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n", "\n ", "\u00a0", "\u2003", "\u3000", "\u1680", "\u180e", "\u2028", "\u0085", "\u200b", "\ufeff",
    "'", "'s", "'S", "'ll", "'LL", "\u2019s", "\"", "\u201c", "\u201d", ".", ",", "!", "?", "...", "\u2026", "-", "--", "\u2014", "_", "/", "\\", "|", "(",
    ")", "[", "]", "{", "}", "<", ">", "=", "==", "!=", "&&", "+", "++", "*", "**", "#", "$", "%", "^", "~", "`", "@", ":", ";", "\u20ac", "\u00a3",
    "0", "1", "12", "123", "1234", "12345", "3.14", "1,000", "\u0661\u0662", "\u00bd", "\u00b2", "\u2167", "\uff11\uff12", "\u0967", "\U0001d7d8",
    "a", "A", "aA", "\u00e9", "e\u0301", "\u00c9", "\u00fc", "\u00df", "\u1e9e", "\u0130", "\u0131", "\u017f", "\u212b", "A\u030a", "\ufb01", "\u01c5", "\u02b0",
    "\u0301", "\u0300\u0301", "\u4f60\u597d", "\u4e16", "\u3053\u3093", "\u30ab\u30bf", "\uff76", "\uc548", "\u1100\u1161", "\u1112\u1161\u11ab",
    "\u041f\u0440\u0438", "\u0645\u0631", "\u064e", "\u05e9\u05c1", "\u0928\u092e\u0938\u094d\u0924\u0947", "\u0e2a\u0e27\u0e31", "\u0c95\u0cbe", "\U0001f600",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\U0001f44d\U0001f3fd", "\u2764\ufe0f", "\u2122", "\u00ad", "\ue000", "\U0010ffff",
    "\ufffd", "\u0378", "\u0001", "\u001c", "\u001f", "\u007f", "\u001b[0m", "\u0340", "\u0958", "\u2126", "\uf900", "\u0f43", "\u1e0b\u0323", "q\u0307\u0323",
    "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<s>", "</s>", "<unk>", "[INST]", "[/INST]", "<start_of_turn>", "<0x41>", "<0x0A>", "<|im_start", "|>",
    "<think>", "</think>", "<tool>", "<mask>", MARK, MARK + "a", "\u0120", "\u0120the", "\u010a", "http://", "www.", "x=1;", "f(x)", "\n\t", "\n\n\n", "    ",
    "\t\t", "a b", "the", " the", "The", "THE", "aaaa", "\u00e9\u00e9", "abcabc", "ab ab", "== ==", "\n \n", " \r", "\r", "\u000b", "\u000c",
]


def texts():
    rng = random.Random(SEED)
    out = ["", " ", "  ", "\n", "a", " a", "a ", "  a  b  ", "Hello, world!", "\ufeffx", " <s> ", "<s>", "a<s>b", "x\n\n<|im_end|> \n y"] + PIECES
    while len(out) < COUNT:
        kind, n = rng.random(), rng.randint(1, 12)
        if kind < 0.45:
            out.append("".join(rng.choice(PIECES) for _ in range(n)))
        elif kind < 0.7:
            out.append(" ".join(rng.choice(WORDS if rng.random() < 0.7 else PIECES) for _ in range(n)))
        elif kind < 0.8:
            out.append(rng.choice(PIECES) * rng.randint(2, 30))
        elif kind < 0.9:
            out.append("".join(chr(rng.choice((rng.randint(1, 0x7f), rng.randint(0x80, 0x7ff), rng.randint(0x800, 0xd7ff), rng.randint(0xe000, 0xffff),
                                               rng.randint(0x10000, 0x1ffff)))) for _ in range(n)))
        else:
            out.append("".join(rng.choice(WORDS).capitalize() + rng.choice(["", " ", "  ", "\n", "_", "1", "'s"]) for _ in range(n)))
    return out


def corpus():
    rng = random.Random(SEED + 1)
    lines = [" ".join(rng.choice(WORDS) for _ in range(12)) for _ in range(200)]
    return lines + [t for t in texts() if "<" not in t and "\u0120" not in t and "\u010a" not in t][::3] + ["caf\u00e9 \u4f60\u597d\u4e16\u754c \u041f\u0440\u0438\u0432\u0435\u0442 123 2024"] * 5


def byte_level(name):
    tk = Tokenizer(models.BPE(ignore_merges=name in ("llama3", "tekken")))
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=name == "smollm")
    if name == "smollm":
        tk.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), level])
    elif name == "gpt2":
        tk.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)
    else:
        pattern = {"llama3": LLAMA3, "qwen2": QWEN2, "tekken": TEKKEN}[name]
        tk.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), level])
    if name == "qwen2":
        tk.normalizer = normalizers.NFC()
    tk.decoder = decoders.ByteLevel()
    tk.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=520, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    added = [AddedToken(t, special=True, normalized=False) for t in ("<|im_start|>", "<|im_end|>", "<|eot_id|>")]
    if name == "qwen2":
        added += [AddedToken(t, special=False, normalized=False) for t in ("<think>", "</think>")]
        added += [AddedToken("<tool>", special=False, normalized=True)]
    if name == "gpt2":
        added += [AddedToken("<mask>", special=True, normalized=False, lstrip=True), AddedToken("<unk>", special=True, normalized=False, rstrip=True),
                  AddedToken("<tool>", special=False, normalized=False, single_word=True)]
    tk.add_tokens(added)
    if name == "llama3":
        tk.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
            single="<|im_start|> $A", special_tokens=[("<|im_start|>", tk.token_to_id("<|im_start|>"))])])
    return tk


def char_level(name):
    tk = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    marks = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % i for i in range(256)]
    if name == "llama2":
        tk.normalizer = normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])
    elif name == "mistral":
        tk.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    elif name == "gemma":
        tk.normalizer = normalizers.Replace(" ", MARK)
        tk.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    # merges must not cross words while training, whatever the family does later
    trained = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    trained.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=620, show_progress=False, special_tokens=marks, limit_alphabet=90))
    root, model = json.loads(tk.to_str()), json.loads(trained.to_str())["model"]
    root["model"]["vocab"], root["model"]["merges"] = model["vocab"], model["merges"]
    if name == "gemma":  # runs of blanks and line ends are tokens
        for run in [MARK * 2, MARK * 3, MARK * 4]:
            root["model"]["vocab"].setdefault(run, len(root["model"]["vocab"]))
        root["model"]["merges"] = [[MARK, MARK], [MARK * 2, MARK], [MARK * 2, MARK * 2]] + root["model"]["merges"]
    tk = Tokenizer.from_str(json.dumps(root))
    old = name == "llama2"
    tk.add_tokens([AddedToken(t, special=True, normalized=old) for t in ("<unk>", "<s>", "</s>")])
    if name == "mistral":
        tk.add_tokens([AddedToken(t, special=True, normalized=False) for t in ("[INST]", "[/INST]")])
    if name == "gemma":
        tk.add_tokens([AddedToken("<start_of_turn>", special=True, normalized=False)])
        tk.add_tokens([AddedToken(t, special=False, normalized=False) for t in ("\n\n", "\n\n\n", "\t\t", "<mask>")])
    tk.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", tk.token_to_id("<s>"))])
    return tk


def save(base, name, tk, strings):
    special = [tk.encode(t, add_special_tokens=False).ids for t in strings]
    tk.encode_special_tokens = True
    plain = [tk.encode(t, add_special_tokens=False).ids for t in strings]
    tk.encode_special_tokens = False
    with open(os.path.join(base, name + ".json"), "w") as f:
        json.dump({"tokenizer": json.loads(tk.to_str()), "special": special, "plain": plain}, f, separators=(",", ":"), ensure_ascii=True)


def spm(base, strings):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(corpus()), model_writer=model, model_type="bpe", vocab_size=620, byte_fallback=True,
                                             character_coverage=0.98, normalization_rule_name="identity", remove_extra_whitespaces=False,
                                             split_digits=True, allow_whitespace_only_pieces=True, minloglevel=2)
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    ids = range(sp.get_piece_size())
    kind = [2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 1 for i in ids]
    with open(os.path.join(base, "spm.json"), "w") as f:
        json.dump({"tokens": [sp.id_to_piece(i) for i in ids], "scores": [sp.get_score(i) for i in ids], "types": kind,
                   "plain": [sp.encode(t) for t in strings]}, f, separators=(",", ":"), ensure_ascii=True)


def main():
    base, strings = sys.argv[1], texts()
    os.makedirs(base, exist_ok=True)
    with open(os.path.join(base, "texts.json"), "w") as f:
        json.dump(strings, f, separators=(",", ":"), ensure_ascii=True)
    for name in ("llama3", "qwen2", "smollm", "gpt2", "tekken"):
        save(base, name, byte_level(name), strings)
    for name in ("llama2", "mistral", "gemma"):
        save(base, name, char_level(name), strings)
    spm(base, strings)


main()
