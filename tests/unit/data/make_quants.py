#!/usr/bin/env python3
"""Make lm_quants.safetensors: random blocks of every quantised tensor type that is read, and their values by the gguf package.

make_quants.py OUT      needs gguf, numpy, safetensors (`make peers` installs them); TYPE.bytes (U8) and TYPE.values (F32)
"""
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from safetensors.numpy import save_file

TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"]
VALUES = 768

rng = np.random.default_rng(7)
out = {}
for name in TYPES:
    kind = GGMLQuantizationType[name]
    values, size = GGML_QUANT_SIZES[kind]
    blocks = []
    while len(blocks) < VALUES // values:  # random bytes are now and then an infinite scale
        block = rng.integers(0, 256, (1, size), dtype=np.uint8)
        if np.isfinite(dequantize(block, kind)).all():
            blocks.append(block[0])
    data = np.stack(blocks)
    out[name + ".bytes"] = data.reshape(-1)
    out[name + ".values"] = dequantize(data, kind).reshape(-1).astype(np.float32)
save_file(out, sys.argv[1])
