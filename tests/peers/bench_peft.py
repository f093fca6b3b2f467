"""bench_peft.py ROWS.jsonl MODEL_DIR [--tail]: LoRA as transformers and PEFT users run it: batch 4 padded, fp32, 2 threads, r 8, alpha 16,
q k v o. --tail: the head only where the loss is. Rows are {"system","prompt","answer"}, rendered as the model's template does (null: its own
system text). One JSON line of figures."""
import json, os, resource, sys, time
began = time.time()
os.environ['OMP_NUM_THREADS'] = '2'
import torch
torch.set_num_threads(2)
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

BATCH, WARM = 4, 3
tok = AutoTokenizer.from_pretrained(sys.argv[2])
model = AutoModelForCausalLM.from_pretrained(sys.argv[2], dtype=torch.float32)
model.config.use_cache = False
model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=['q_proj', 'k_proj', 'v_proj', 'o_proj'], task_type='CAUSAL_LM'))
model.train()
end = tok.convert_tokens_to_ids('<|im_end|>')
OWN = 'You are a helpful AI assistant named SmolLM, trained by Hugging Face'
ids = lambda text: tok(text, add_special_tokens=False)['input_ids']
data = []
for line in open(sys.argv[1]):
    r = json.loads(line)
    data.append((ids('<|im_start|>system\n' + (OWN if r['system'] is None else r['system']) + '<|im_end|>\n<|im_start|>user\n' + r['prompt'] + '<|im_end|>\n<|im_start|>assistant\n'), ids(r['answer']) + [end]))
params = [p for p in model.parameters() if p.requires_grad]
opt = torch.optim.AdamW(params, lr=1e-3, weight_decay=0.0)
first = timed = None
for step in range(len(data) // BATCH):
    rows = data[step * BATCH:(step + 1) * BATCH]
    n = max(len(p) + len(a) for p, a in rows)
    x, seen, want = torch.full((BATCH, n), end), torch.zeros((BATCH, n), dtype=torch.long), torch.full((BATCH, n), -100)
    for i, (p, a) in enumerate(rows):
        x[i, :len(p) + len(a)] = torch.tensor(p + a)
        seen[i, :len(p) + len(a)] = 1
        want[i, len(p):len(p) + len(a)] = torch.tensor(a)
    if step == WARM:
        timed = time.time()
    if '--tail' in sys.argv:
        inner = model.base_model.model
        hidden = inner.model(input_ids=x, attention_mask=seen).last_hidden_state
        at = want[:, 1:] != -100
        loss = torch.nn.functional.cross_entropy(inner.lm_head(hidden[:, :-1][at]).float(), want[:, 1:][at])
    else:
        loss = model(input_ids=x, attention_mask=seen, labels=want).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(params, 1.0)
    opt.step()
    opt.zero_grad(set_to_none=True)
    first = first or time.time() - began
rate = BATCH * (len(data) // BATCH - WARM) / (time.time() - timed)
print(json.dumps(dict(rows_s=rate, first=first, mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, loss=loss.item())))
