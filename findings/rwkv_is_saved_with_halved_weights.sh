#!/bin/sh
# RWKV in transformers divides weights of its later blocks by 2, 4, ... in place (`rescale_every`) when it is called in
# evaluation mode, and multiplies them again when it is called in training mode. What is saved between the two has the
# divided weights, and the model that loads them divides them once more. Trainer saves a checkpoint just after it has
# evaluated, so each such checkpoint is another model than the one that was evaluated, with no word said.
# Nothing is learnt here (the learning rate is 0), so that all weights should stay. Seen with the versions below; fails
# if that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet \
    transformers==5.24.0 accelerate==1.15.0 "torch>=2.7,<2.14"
cat > "$work/finding.py" <<'PYTHON'
import sys
from importlib.metadata import version

import torch
from transformers import RwkvConfig, RwkvForCausalLM, Trainer, TrainingArguments

torch.manual_seed(0)
shape = {"hidden_size": 16, "attention_hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3}
model = RwkvForCausalLM(RwkvConfig(vocab_size=32, context_length=16, rescale_every=1, **shape))
names = [f"rwkv.blocks.{number}.attention.output.weight" for number in range(3)]
before = {name: model.get_parameter(name).detach().clone() for name in names}
rows = [{"input_ids": (torch.arange(8) + n) % 32, "labels": (torch.arange(8) + n) % 32} for n in range(8)]
steps = {"max_steps": 1, "learning_rate": 0.0, "eval_strategy": "steps", "eval_steps": 1, "save_steps": 1}
quiet = {"use_cpu": True, "report_to": [], "disable_tqdm": True}
trainer = Trainer(model, TrainingArguments(sys.argv[1], **steps, **quiet), train_dataset=rows, eval_dataset=rows)
trainer.train()
evaluated = trainer.state.log_history[-2]["eval_loss"]
saved = RwkvForCausalLM.from_pretrained(f"{sys.argv[1]}/checkpoint-1")
shares = [round(float((saved.get_parameter(name) / before[name]).median()), 3) for name in names]
again = Trainer(saved, TrainingArguments(sys.argv[1], **quiet), eval_dataset=rows).evaluate()["eval_loss"]
print("transformers", version("transformers"), "accelerate", version("accelerate"), file=sys.stderr)
print("blocks 0, 1, 2 of the checkpoint, as shares of what was trained:", *shares, file=sys.stderr)
print("it has the loss that was evaluated:", abs(again - evaluated) < 1e-4, file=sys.stderr)
PYTHON
cat > "$work/expected" <<'OUTPUT'
transformers 5.24.0 accelerate 1.15.0
blocks 0, 1, 2 of the checkpoint, as shares of what was trained: 1.0 0.5 0.25
it has the loss that was evaluated: False
OUTPUT
"$work/venv/bin/python" "$work/finding.py" "$work/out" 2>&1 > /dev/null | grep -E '^(transformers 5|blocks|it has)' > "$work/output"
cat "$work/output"
diff "$work/expected" "$work/output" && echo "as it was seen"
