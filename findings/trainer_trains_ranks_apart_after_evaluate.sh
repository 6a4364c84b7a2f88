#!/bin/sh
# Trainer of transformers, two processes: after `evaluate()` (or `predict()`) a `train()` exchanges no gradients, with
# no word said. The evaluation hands the model to accelerate's `prepare_model(evaluation_mode=True)`, which does not wrap
# it in DistributedDataParallel and takes it for prepared from then on. So each rank trains a model of its own, and that
# of the first is saved: half of the data is lost. Without the evaluation, and with `eval_on_start`, the ranks agree.
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
from importlib.metadata import version

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

torch.manual_seed(0)
shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
model = LlamaForCausalLM(LlamaConfig(vocab_size=32, **shape))
rows = [{"input_ids": (torch.arange(8) + n) % 32, "labels": (torch.arange(8) + n) % 32} for n in range(16)]
options = {"use_cpu": True, "report_to": [], "save_strategy": "no", "ddp_backend": "gloo", "disable_tqdm": True}
arguments = TrainingArguments(sys.argv[1], max_steps=3, learning_rate=1e-2, **options)
trainer = Trainer(model, arguments, train_dataset=rows, eval_dataset=rows)
if sys.argv[2] == "after":
    trainer.evaluate()
trainer.train()
sums = [torch.zeros(()) for _ in range(2)]
torch.distributed.all_gather(sums, sum(weight.detach().sum() for weight in model.parameters()))
if os.environ["RANK"] == "0":
    if sys.argv[2] == "before":
        print(*(f"{name} {version(name)}" for name in ("transformers", "accelerate")), file=sys.stderr)
    same = "the same" if torch.equal(*sums) else "different"
    words = "without evaluate()" if sys.argv[2] == "before" else "after evaluate()"
    print(f"{words}: {type(trainer.model_wrapped).__name__}, {same} weights on both ranks", file=sys.stderr)
PYTHON
for when in before after; do
    "$work/venv/bin/python" -m torch.distributed.run --standalone --nproc_per_node=2 \
        "$work/finding.py" "$work/out" $when 2>&1 >/dev/null | grep -E '^(transformers 5|without|after)' >> "$work/output"
done
cat > "$work/expected" <<'OUTPUT'
transformers 5.24.0 accelerate 1.15.0
without evaluate(): DistributedDataParallel, the same weights on both ranks
after evaluate(): LlamaForCausalLM, different weights on both ranks
OUTPUT
cat "$work/output"
diff "$work/expected" "$work/output" && echo "as it was seen"
