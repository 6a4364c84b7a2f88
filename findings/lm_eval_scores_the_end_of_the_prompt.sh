#!/bin/sh
# A chat template's prompt for the next answer often ends with a line break, after the mark of the assistant's
# turn. lm-eval moves white space at the end of a prompt to the beginning of the answer, so this line break is
# scored as if the model had chosen it, with every answer alike. The choice by the sum (acc) stays as it was. But
# acc_norm divides the sum by the characters of the answer, without the line break: the less sure a model is of
# it, the more long answers win. Fine-tuning that masks questions and marks never trains this token.
# The model below gives all bytes the same probability; the right answer is short, and the wrong one has a character of
# three bytes.
# Seen with the versions below; fails if that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet \
    "lm_eval[hf]==0.4.13" transformers==5.24.0 "torch>=2.7,<2.14" datasets==5.2.0
cat > "$work/finding.py" <<'PYTHON'
import json
import warnings
from importlib.metadata import version
from pathlib import Path

warnings.simplefilter("ignore")
import torch
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

print(*(f"{name} {version(name)}" for name in ("lm_eval", "transformers")))
alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
bytes_alone = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
bytes_alone.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
bytes_alone.decoder = decoders.ByteLevel()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytes_alone, eos_token="<|end|>")
size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
network = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **size))
torch.nn.init.zeros_(network.lm_head.weight)  # every token is as likely as any other

row = {"question": "Ready?", "choices": ["yes", "it is not ready…"], "right": 0}
Path("data.jsonl").write_text(json.dumps(row) + "\n")
task = {
    "task": "ready",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "data.jsonl"}},
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "{{right}}",
    "metric_list": [{"metric": "acc_norm", "aggregation": "mean", "higher_is_better": True}],
}


class Shown(HFLM):
    def _loglikelihood_tokens(self, requests, **options):
        print("scored:", [self.tokenizer.decode(answer) for _, _, answer in requests])
        return super()._loglikelihood_tokens(requests, **options)


for end in ("", "\\n"):
    tokenizer.chat_template = (
        "{% for message in messages %}user: {{ message.content }}\n{% endfor %}assistant:{{ '" + end + "' }}"
    )
    model = Shown(pretrained=network, tokenizer=tokenizer)
    loaded = TaskManager(include_defaults=False).load([task])
    results = evaluate(model, loaded, apply_chat_template=True)
    print(f"a prompt that ends with 'assistant:{end}': acc_norm", results["results"]["ready"]["acc_norm,none"])
PYTHON
cat > "$work/expected" <<'OUTPUT'
lm_eval 0.4.13 transformers 5.24.0
scored: ['yes', 'it is not ready…']
a prompt that ends with 'assistant:': acc_norm 1.0
scored: ['\nyes', '\nit is not ready…']
a prompt that ends with 'assistant:\n': acc_norm 0.0
OUTPUT
cd "$work"
HF_HOME="$work/home" "$work/venv/bin/python" "$work/finding.py" 2> "$work/errors" | tee "$work/output"
diff "$work/expected" "$work/output" && echo "as it was seen"
