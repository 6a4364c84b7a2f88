#!/bin/sh
# TRL has two collators of tokenised preferences, both called DataCollatorForPreference, both with the columns
# chosen_ids and rejected_ids. That of the DPO trainer takes the answers alone there, behind prompt_ids; that of
# the reward trainer takes whole rows there, and does not look at prompt_ids. Given the rows of the first, the
# second makes a batch of answers without their prompt, with no word said: a reward model learns to judge answers
# to unknown questions.
# Seen with the versions below; fails if that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet \
    trl==1.16.0 transformers==5.24.0 "torch>=2.7,<2.14" datasets==5.2.0
cat > "$work/finding.py" <<'PYTHON'
import warnings
from importlib.metadata import version

warnings.simplefilter("ignore")
from trl.trainer import dpo_trainer, reward_trainer

print(*(f"{name} {version(name)}" for name in ("trl", "transformers")))
rows = [{"prompt_ids": [1, 2, 3], "chosen_ids": [4, 5], "rejected_ids": [6, 7]}]
for trainer in (dpo_trainer, reward_trainer):
    collate = trainer.DataCollatorForPreference(pad_token_id=0)
    print(f"{trainer.__name__.split('.')[-1]}:", collate(rows)["input_ids"].tolist())
PYTHON
cat > "$work/expected" <<'OUTPUT'
trl 1.16.0 transformers 5.24.0
dpo_trainer: [[1, 2, 3, 4, 5], [1, 2, 3, 6, 7]]
reward_trainer: [[4, 5], [6, 7]]
OUTPUT
"$work/venv/bin/python" "$work/finding.py" 2> "$work/errors" | tee "$work/output"
diff "$work/expected" "$work/output" && echo "as it was seen"
