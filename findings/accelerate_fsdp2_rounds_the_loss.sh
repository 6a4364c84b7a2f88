#!/bin/sh
# FSDP 2 with bf16, as accelerate sets it up: the policy for mixed precision casts what the model returns to bfloat16, and
# a model of transformers returns its loss. The cross entropy is computed in float32 and then rounded to 8 bits: at 6 nats
# to steps of 1/32. Loss curves are stairs, two runs that differ look the same, and a step that gains less than a stair
# looks like none. Without `output_dtype` the losses
# are float32.
# Source: accelerate/utils/dataclasses.py, `FullyShardedDataParallelPlugin.set_mixed_precision`.
# Seen with the versions below; fails if that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet \
    transformers==5.24.0 accelerate==1.15.0 "torch>=2.7,<2.14"
cat > "$work/finding.py" <<'PYTHON'
from dataclasses import replace
from importlib.metadata import version

import torch
from accelerate.utils import FullyShardedDataParallelPlugin
from torch.distributed.fsdp import fully_shard
from transformers import LlamaConfig, LlamaForCausalLM

plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
plugin.set_mixed_precision("bf16")
policy = plugin.mixed_precision_policy
torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
ids = torch.arange(64)[None]


def losses(policy):
    """The losses of some steps of a seeded model, sharded by a policy."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=512, **shape))
    for module in (*model.model.layers, model):
        fully_shard(module, mesh=mesh, mp_policy=policy)
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    for _ in range(4):
        loss = model(input_ids=ids, labels=ids).loss
        yield loss.detach()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


print(*(f"{name} {version(name)}" for name in ("transformers", "accelerate")))
for name, chosen in (("as accelerate sets it", policy), ("without output_dtype", replace(policy, output_dtype=None))):
    values = list(losses(chosen))
    on_stairs = sum(value.item() * 32 == round(value.item() * 32) for value in values)
    print(f"{name}: {values[0].dtype}, {on_stairs} of {len(values)} losses are multiples of 1/32")
PYTHON
"$work/venv/bin/python" "$work/finding.py" > "$work/output"
cat > "$work/expected" <<'OUTPUT'
transformers 5.24.0 accelerate 1.15.0
as accelerate sets it: torch.bfloat16, 4 of 4 losses are multiples of 1/32
without output_dtype: torch.float32, 0 of 4 losses are multiples of 1/32
OUTPUT
cat "$work/output"
diff "$work/expected" "$work/output" && echo "as it was seen"
