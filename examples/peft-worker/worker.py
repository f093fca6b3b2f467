#!/usr/bin/env python3
"""A training worker for kolmfs made of PEFT, transformers and torch: the flags, environment, JSON lines and exit codes of kolm-trainer(1).

Alone, or started by torchrun over processes, GPUs and machines. See README.md."""
import argparse
import hashlib
import json
import math
import os
import resource
import signal
import sys
import tempfile
import threading
import time

HELD_OUT_MIN_ROWS = 50
PATIENCE = 2  # epochs in a row whose held-out loss is not below the lowest before them end the training, as in kolm-trainer(1)
STOP_SEC = 8  # a worker that was told to stop has ten seconds
LORA_DEFAULTS = {"rank": 8, "alpha": 16, "dropout": 0, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]}

RANK = int(os.environ.get("RANK", "0"))
WORLD = int(os.environ.get("WORLD_SIZE", "1"))
stopping = training = False
os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"  # the base is a file or a folder, airgap or not


def say(**line):
    if RANK == 0:
        print(json.dumps(line), flush=True)


def fail(error):
    """The last line of whichever process failed: the others will not come to say theirs."""
    print(json.dumps({"ok": False, "error": error}), flush=True)


def wait_for_stop():
    """SIGTERM: the step in hand is finished and a checkpoint written, if that is done soon; the last one is whole in any case. A thread waits for it,
    since a handler would not run before torch comes back."""
    global stopping
    signal.sigwait({signal.SIGTERM})
    stopping = True
    time.sleep(STOP_SEC if training else 0)
    os._exit(1)


def arguments():
    ap = argparse.ArgumentParser()
    for flag in ("--tune-dir", "--out-dir"):
        ap.add_argument(flag, required=True)
    ap.add_argument("--captures")
    ap.add_argument("--prev", default="v0")
    ap.add_argument("--epochs", type=int, default=3)
    ap.add_argument("--batch-size", type=int, default=4)
    ap.add_argument("--lr", type=float, default=1e-3)
    ap.add_argument("--max-seq-len", type=int, default=1024)
    ap.add_argument("--airgap", action="store_true")
    return ap.parse_args()  # bad flags: exit 2


def read_rows(path):
    """KOLM_ROWS: {"prompt","system","answer"} a line; captures have the same as "input" and "output"."""
    rows = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and "prompt" not in row:
                row = {"prompt": row.get("input"), "answer": row.get("output")}
            if isinstance(row, dict) and isinstance(row.get("prompt"), str) and isinstance(row.get("answer"), str):
                rows.append(row)
    return rows


def encode(tokenizer, row, longest):
    """Prompt as it is served, then the answer and its end of turn; (tokens, where the answer begins), None when too long."""
    turns = [{"role": "user", "content": row["prompt"]}]
    if row.get("system"):
        turns.insert(0, {"role": "system", "content": row["system"]})
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
    answer = tokenizer(row["answer"], add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    return (prompt + answer, len(prompt)) if len(prompt) + len(answer) <= longest else None


def is_held_out(row):
    """A fixed tenth, by content: the same rows every night."""
    return hashlib.sha256((row["prompt"] + "\0" + row["answer"]).encode()).digest()[0] % 10 == 0


def load_base(path):
    from transformers import AutoModelForCausalLM, AutoTokenizer
    import torch

    folder, kind = path, {}
    if not os.path.isdir(path):  # a GGUF: transformers wants to list its folder, of which a worker may read that file only
        folder, kind = tempfile.mkdtemp(), {"gguf_file": "base.gguf"}
        os.symlink(path, os.path.join(folder, "base.gguf"))
    tokenizer = AutoTokenizer.from_pretrained(folder, **kind)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **kind)
    model.config.use_cache = False
    return tokenizer, model


def load_adapter(model, config, prev):
    from peft import LoraConfig, PeftModel, get_peft_model

    if os.path.exists(os.path.join(prev, "adapter_model.safetensors")):
        return PeftModel.from_pretrained(model, prev, is_trainable=True)
    want = {**LORA_DEFAULTS, **{k: v for k, v in config.items() if k in LORA_DEFAULTS and v is not None}}
    if os.environ.get("KOLM_TARGETS"):
        want["target_modules"] = os.environ["KOLM_TARGETS"].split(",")
    return get_peft_model(model, LoraConfig(r=want["rank"], lora_alpha=want["alpha"], lora_dropout=want["dropout"],
                                            target_modules=want["target_modules"], task_type="CAUSAL_LM"))


class Run:
    """One training run: this rank's share of every batch, gradients summed over the ranks."""

    def __init__(self, args, model, tokenizer, train, held, device):
        import torch

        self.torch, self.args, self.model, self.device = torch, args, model, device
        self.pad = tokenizer.eos_token_id
        self.train, self.held = train, held
        self.params = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.params, lr=args.lr, weight_decay=0.0)
        self.per_epoch = math.ceil(len(train) / args.batch_size)
        self.steps = self.per_epoch * args.epochs
        self.step, self.best, self.best_epoch, self.best_state = 0, math.inf, 0, None
        self.began, self.saved = time.time(), time.time()
        self.tokens, self.first, self.curve, self.said = 0, 0, [], {}

    def order(self, epoch):
        generator = self.torch.Generator().manual_seed(int(os.environ.get("KOLM_SEED", "42")) * 1000003 + epoch)
        return self.torch.randperm(len(self.train), generator=generator).tolist()

    def loss_of(self, rows):
        """Sum of the losses of the answers' tokens."""
        torch = self.torch
        width = max(len(t) for t, _ in rows)
        ids = torch.full((len(rows), width), self.pad)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        labels = torch.full((len(rows), width), -100)
        for i, (tokens, answer) in enumerate(rows):
            ids[i, :len(tokens)] = torch.tensor(tokens)
            mask[i, :len(tokens)] = 1
            labels[i, answer:len(tokens)] = ids[i, answer:len(tokens)]
        ids, mask, labels = ids.to(self.device), mask.to(self.device), labels.to(self.device)
        base = self.model.base_model.model
        hidden = base.model(input_ids=ids, attention_mask=mask).last_hidden_state
        at = labels[:, 1:] != -100  # the head only where something is learned
        logits = base.lm_head(hidden[:, :-1][at]).float()
        return torch.nn.functional.cross_entropy(logits, labels[:, 1:][at], reduction="sum")

    def sum_over_ranks(self, tensor):
        if WORLD > 1:
            self.torch.distributed.all_reduce(tensor)
        return tensor

    def one_step(self, rows):
        supervised = sum(len(t) - a for t, a in rows)
        mine = rows[RANK::WORLD]
        self.optimizer.zero_grad(set_to_none=False)
        for p in self.params:
            if p.grad is None:
                p.grad = self.torch.zeros_like(p)
        loss, stop = both = self.torch.tensor([0.0, float(stopping)], device=self.device)  # all ranks stop behind the same step
        if mine:
            total = self.loss_of(mine)
            (total / supervised).backward()
            loss += total.detach()
        for p in self.params:
            self.sum_over_ranks(p.grad)
        self.sum_over_ranks(both)
        self.torch.nn.utils.clip_grad_norm_(self.params, 1.0)
        warm = max(1, int(0.05 * self.steps))
        factor = min(1.0, (self.step + 1) / warm, (self.steps - self.step) / max(1, self.steps - warm))
        for group in self.optimizer.param_groups:
            group["lr"] = self.args.lr * factor
        self.optimizer.step()
        self.tokens += sum(len(t) for t, _ in rows)
        return loss.item() / supervised, stop.item() > 0

    def held_loss(self):
        if not self.held:
            return None
        self.model.eval()
        with self.torch.no_grad():
            mine = self.held[RANK::WORLD]
            total = self.torch.tensor(sum(self.loss_of(mine[i:i + 8]).item() for i in range(0, len(mine), 8)), device=self.device)
        self.model.train()
        held = self.sum_over_ranks(total).item() / sum(len(t) - a for t, a in self.held)
        if not math.isfinite(held):
            raise RuntimeError(f"held-out loss is not finite after epoch {self.step // self.per_epoch}")
        return held

    def tell(self, epoch, loss, held=None):
        spent, of = time.time() - self.began, self.step if self.has_peaked() else self.steps
        self.said = dict(event="progress", step=self.step, of=of, epoch=epoch, loss=round(loss, 4), heldout=None if held is None else round(held, 4),
                         tokens_per_sec=round(self.tokens / spent, 1), left_sec=round(spent / (self.step - self.first) * (of - self.step)))
        say(**self.said)

    def keep_telling(self):
        """A sign of life every second, however long a step takes."""
        while True:
            seen = self.said
            time.sleep(0.9)
            if seen and seen is self.said and training:
                say(**dict(seen, heldout=None))

    def has_peaked(self):
        return bool(self.held) and self.step // self.per_epoch - self.best_epoch >= PATIENCE

    def end_epoch(self, epoch, loss):
        held = self.held_loss()
        if held is None or held < self.best:
            self.best, self.best_epoch = math.inf if held is None else held, epoch
            self.best_state = [p.detach().clone() for p in self.params]
        if held is not None:
            self.curve.append([self.step, held])
        self.tell(epoch, loss, held)

    # a checkpoint is whole or not there: written beside, then renamed
    def save(self, folder):
        if RANK == 0:
            os.makedirs(folder, exist_ok=True)
            path = os.path.join(folder, "peft-worker.pt")
            self.torch.save({"step": self.step, "params": [p.detach().cpu() for p in self.params], "optimizer": self.optimizer.state_dict(),
                             "best": self.best, "best_epoch": self.best_epoch, "best_state": self.best_state, "curve": self.curve}, path + ".new")
            os.replace(path + ".new", path)
        self.saved = time.time()

    def resume(self, folder):
        path = os.path.join(folder, "peft-worker.pt")
        if os.environ.get("KOLM_RESUME") != "1" or not os.path.exists(path):
            return
        state = self.torch.load(path, map_location=self.device, weights_only=True)
        with self.torch.no_grad():
            for p, value in zip(self.params, state["params"]):
                p.copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.best, self.best_epoch, self.best_state, self.curve = (state[k] for k in ("step", "best", "best_epoch", "best_state", "curve"))
        self.first = self.step

    def tell_curve(self):
        """What a killed run has told of the held-out rows, again: whoever writes it down began anew."""
        for step, held in self.curve:
            say(event="progress", step=step, of=self.steps, epoch=step // self.per_epoch, loss=None, heldout=round(held, 4))

    def work(self, checkpoint):
        """All steps that are left; False when it was told to stop."""
        global training
        training = True
        threading.Thread(target=self.keep_telling, daemon=True).start()
        self.model.train()
        while self.step < self.steps and not self.has_peaked():
            epoch, at = divmod(self.step, self.per_epoch)
            rows = [self.train[i] for i in self.order(epoch)[at * self.args.batch_size:(at + 1) * self.args.batch_size]]
            loss, stop = self.one_step(rows)
            if not math.isfinite(loss):
                raise RuntimeError(f"loss is not finite at batch {self.step + 1}")
            self.step += 1
            if at + 1 == self.per_epoch:
                self.end_epoch(epoch + 1, loss)
            else:
                self.tell(epoch + 1, loss)
            if stop or time.time() - self.saved > 30:
                self.save(checkpoint)
            if stop:
                return False
        training = False
        with self.torch.no_grad():
            for p, value in zip(self.params, self.best_state):
                p.copy_(value)
        return True


def main():
    args = arguments()
    began = time.time()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=wait_for_stop, daemon=True).start()
    try:
        import peft
        import torch
        import transformers
    except ImportError as e:
        fail(f"a training library is missing: {e}")
        return 64
    transformers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    threads = int(os.environ.get("KOLM_THREADS") or 0)
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(int(os.environ.get("KOLM_SEED", "42")))
    has_gpu = torch.cuda.is_available()
    if WORLD > 1:
        torch.distributed.init_process_group("nccl" if has_gpu else "gloo")
    device = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if has_gpu else "cpu")

    with open(os.path.join(args.tune_dir, "tune-config.json"), encoding="utf-8") as f:
        config = json.load(f)
    base = os.path.expanduser(config.get("base_path") or config["base_model"])
    if not os.path.exists(base):
        raise RuntimeError(f"base model '{base}' is no file or folder here")
    tokenizer, model = load_base(base)
    prev = os.path.join(args.tune_dir, "revisions", args.prev)
    model = load_adapter(model, config, prev).to(device)
    model.peft_config["default"].base_model_name_or_path = config["base_model"]

    rows = [(row, encode(tokenizer, row, args.max_seq_len)) for row in read_rows(os.environ.get("KOLM_ROWS") or args.captures)]
    kept = [(row, e) for row, e in rows if e]
    holds = len(kept) >= HELD_OUT_MIN_ROWS
    held = [e for row, e in kept if holds and is_held_out(row)]
    train = [e for row, e in kept if not (holds and is_held_out(row))]
    if not train:
        say(ok=False, error=f"no usable captures ({len(rows) - len(kept)} skipped)")
        return 1

    run = Run(args, model, tokenizer, train, held, device)
    checkpoint = os.path.join(args.out_dir, "checkpoint")
    run.resume(checkpoint)
    say(event="plan", params=sum(p.numel() for p in run.params), tokens=args.epochs * sum(len(t) for t, _ in train), steps=run.steps, mem=0)
    run.tell_curve()
    if not run.work(checkpoint):
        return 1
    if RANK == 0:
        model.save_pretrained(args.out_dir)
        for extra in os.listdir(args.out_dir):  # a model card is no part of a revision
            if extra == "README.md":
                os.unlink(os.path.join(args.out_dir, extra))
    done = run.step // run.per_epoch
    say(ok=True, revision_dir=args.out_dir, captures_trained_on=len(train), epochs=args.epochs,
        trainable_params=sum(p.numel() for p in run.params), total_params=sum(p.numel() for p in model.parameters()),
        elapsed_sec=round(time.time() - began, 2), airgap=args.airgap, trl=False, base_model=config["base_model"],
        template="the model's own", kernel=str(device), engine=f"peft {peft.__version__}, torch {torch.__version__}, {WORLD} processes",
        schedule="linear decay after 5% warm-up", best_epoch=run.best_epoch, tokens=done * sum(len(t) for t, _ in train),
        skipped=len(rows) - len(kept), heldout_rows=len(held), peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, epochs_trained=done,
        early_stop=f"after {PATIENCE} epochs in a row whose held-out loss is not below the lowest before them" if held else None)
    if WORLD > 1:
        torch.distributed.destroy_process_group()
    return 0


if __name__ == "__main__":
    try:
        code = main()
    except Exception as e:  # the last line says why, whatever it was
        fail(f"{type(e).__name__}: {e}")
        code = 1
    sys.stdout.flush()
    os._exit(code)  # libraries leave threads that would outlive the last line
