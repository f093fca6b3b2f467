"""bench_files.py BASE.gguf DIR: DIR/hf (dequantised, for transformers), DIR/Q8_0.gguf, DIR/Q4_0.gguf, DIR/Q4_K_M.gguf, DIR/BF16.gguf
(llama.cpp's quantiser), once.
bench_files.py --lora PEFT_DIR OUT.gguf: an adapter of a llama-like base as llama.cpp reads it (q and k rows in its order)."""
import ctypes, json, os, re, sys


def dequantised(base, out):
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
    folder, name = os.path.split(os.path.abspath(base))
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name)
    config = model.config.to_dict()
    config.pop('quantization_config', None)
    plain = LlamaForCausalLM(LlamaConfig(**config))  # transformers does not save a model that came from a GGUF
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(out + '.new')
    AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(out + '.new')
    os.rename(out + '.new', out)


def requantised(base, out, ftype):
    import llama_cpp
    params = llama_cpp.llama_model_quantize_default_params()
    params.nthread, params.ftype, params.allow_requantize = 2, ftype, True
    if llama_cpp.llama_model_quantize(base.encode(), (out + '.new').encode(), ctypes.byref(params)):
        sys.exit('cannot quantise ' + out)
    os.rename(out + '.new', out)


def adapter(folder, out, heads={'q_proj': 9, 'k_proj': 3}):
    import numpy as np
    from gguf import GGUFWriter
    from safetensors.numpy import load_file
    names = dict(q_proj='attn_q', k_proj='attn_k', v_proj='attn_v', o_proj='attn_output', gate_proj='ffn_gate', up_proj='ffn_up', down_proj='ffn_down')
    w = GGUFWriter(out, 'llama')
    w.add_string('general.type', 'adapter')
    w.add_string('adapter.type', 'lora')
    w.add_float32('adapter.lora.alpha', float(json.load(open(folder + '/adapter_config.json'))['lora_alpha']))
    for key, t in sorted(load_file(folder + '/adapter_model.safetensors').items()):
        layer, module, side = re.search(r'layers\.(\d+)\.\w+\.(\w+_proj)\.lora_([AB])\.weight', key).groups()
        t = t.astype(np.float32)
        if side == 'B' and module in heads:
            h = heads[module]
            t = t.reshape(h, 2, t.shape[0] // h // 2, t.shape[1]).swapaxes(1, 2).reshape(t.shape)
        w.add_tensor('blk.%s.%s.weight.lora_%s' % (layer, names[module], side.lower()), np.ascontiguousarray(t))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if sys.argv[1] == '--lora':
    adapter(sys.argv[2], sys.argv[3])
else:
    base, out = sys.argv[1:3]
    for name, ftype in dict(hf=None, Q8_0=7, Q4_0=2, Q4_K_M=15, BF16=32).items():
        path = os.path.join(out, name + ('.gguf' if ftype else ''))
        if not os.path.exists(path):
            requantised(base, path, ftype) if ftype else dequantised(base, path)
