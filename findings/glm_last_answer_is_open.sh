#!/bin/sh
# The chat template of GLM 4.5 (as TRL ships it: glm4moe.jinja) writes no token behind the last answer of a
# conversation. A model is to stop by writing <|user|>, the opener of the next turn, which stands in the row
# only where another turn follows: in a dataset of single questions it never does, so nothing that is trained
# says where an answer ends. TRL's own variant for training writes <|user|> behind the last answer.
# Seen with the versions below; fails if that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet transformers==5.24.0 jinja2==3.1.6
"$work/venv/bin/pip" install --quiet --no-deps trl==1.16.0
cat > "$work/finding.py" <<'PYTHON'
import importlib.util
from importlib.metadata import version
from pathlib import Path

import tokenizers
from transformers import PreTrainedTokenizerFast

folder = Path(importlib.util.find_spec("trl").origin).parent / "chat_templates"
backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
question = {"role": "user", "content": "Which sea is this?"}
answer = {"role": "assistant", "content": "The North Sea."}
print("transformers", version("transformers"), "trl", version("trl"))
for name in ("glm4moe", "glm4moe_training"):
    tokenizer.chat_template = (folder / f"{name}.jinja").read_text()
    for messages in ([question, answer], [question, answer, question]):
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        print(f"{name}, {len(messages)} turns: ...", repr(text.partition("North")[2]))
PYTHON
cat > "$work/expected" <<'OUTPUT'
transformers 5.24.0 trl 1.16.0
glm4moe, 2 turns: ... ' Sea.'
glm4moe, 3 turns: ... ' Sea.<|user|>\nWhich sea is this?'
glm4moe_training, 2 turns: ... ' Sea.<|user|>'
glm4moe_training, 3 turns: ... ' Sea.<|user|>\nWhich sea is this?'
OUTPUT
"$work/venv/bin/python" "$work/finding.py" 2> "$work/errors" | tee "$work/output"
diff "$work/expected" "$work/output" && echo "as it was seen"
