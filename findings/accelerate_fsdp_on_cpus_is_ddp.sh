#!/bin/sh
# Trainer of transformers with `fsdp=True` on two CPU processes shards nothing: accelerate takes FSDP only where there is
# an accelerator, and the model is wrapped in DistributedDataParallel, whole on each process, with no word said. A test
# of FSDP on CPUs, such as a CI has, therefore tests DDP. PyTorch's own `fully_shard` does shard there.
# Seen with the versions below; fails if that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet \
    transformers==5.24.0 accelerate==1.15.0 "torch>=2.7,<2.14"
cat > "$work/finding.py" <<'PYTHON'
import os
import sys
import warnings
from importlib.metadata import version

import torch
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def model():
    return LlamaForCausalLM(LlamaConfig(vocab_size=32, **shape))


def held(module):
    """How many weights this process holds of a model."""
    return sum((w.to_local() if isinstance(w, DTensor) else w).numel() for w in module.parameters())


rows = [{"input_ids": torch.arange(8), "labels": torch.arange(8)}] * 8
sharded = {"fsdp": True, "fsdp_config": {"version": 2, "auto_wrap_policy": "TRANSFORMER_BASED_WRAP"}}
options = {"use_cpu": True, "ddp_backend": "gloo", "report_to": [], "save_strategy": "no", "disable_tqdm": True}
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    trainer = Trainer(model(), TrainingArguments(sys.argv[1], max_steps=1, **options, **sharded), train_dataset=rows)
    trainer.train()
if os.environ["RANK"] == "0":
    print(*(f"{name} {version(name)}" for name in ("transformers", "accelerate")), file=sys.stderr)
    wrapped = type(trainer.model_wrapped).__name__
    about_it = sum("fsdp" in str(warning.message).lower() for warning in said)
    print(f"fsdp=True: {wrapped}, {held(trainer.model)} weights held, {about_it} warnings", file=sys.stderr)
whole = model()
fully_shard(whole, mesh=torch.distributed.device_mesh.init_device_mesh("cpu", (2,)))
if os.environ["RANK"] == "0":
    print(f"fully_shard: {held(whole)} weights held", file=sys.stderr)
PYTHON
"$work/venv/bin/python" -m torch.distributed.run --standalone --nproc_per_node=2 "$work/finding.py" "$work/out" \
    2>&1 >/dev/null | tee "$work/all" | grep -E '^(transformers 5|fsdp=|fully_shard:)' > "$work/output"
cat > "$work/expected" <<'OUTPUT'
transformers 5.24.0 accelerate 1.15.0
fsdp=True: DistributedDataParallel, 2864 weights held, 0 warnings
fully_shard: 1432 weights held
OUTPUT
cat "$work/output"
diff "$work/expected" "$work/output" && echo "as it was seen"
