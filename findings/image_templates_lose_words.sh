#!/bin/sh
# Chat templates of models that see images (here SmolVLM's, as TRL ships it) take the words of a message as a
# list of parts. Given plain text, as every chat dataset has it, transformers' apply_chat_template writes the
# roles and the ends of the turns, leaves the words out, and raises nothing: rows made of it train an empty
# answer. Jinja goes through the characters of the text, none of which has a type.
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

shipped = Path(importlib.util.find_spec("trl").origin).parent / "chat_templates" / "smolvlm.jinja"
backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
tokenizer.chat_template = shipped.read_text()
print("transformers", version("transformers"), "trl", version("trl"))
for name, content in (
    ("text", lambda words: words),
    ("parts", lambda words: [{"type": "text", "text": words}]),
):
    messages = [
        {"role": "user", "content": content("Which sea is this?")},
        {"role": "assistant", "content": content("The North Sea.")},
    ]
    print(f"{name}:", repr(tokenizer.apply_chat_template(messages, tokenize=False)))
PYTHON
cat > "$work/expected" <<'OUTPUT'
transformers 5.24.0 trl 1.16.0
text: '<|im_start|>User: <end_of_utterance>\nAssistant: <end_of_utterance>\n'
parts: '<|im_start|>User: Which sea is this?<end_of_utterance>\nAssistant: The North Sea.<end_of_utterance>\n'
OUTPUT
"$work/venv/bin/python" "$work/finding.py" 2> "$work/errors" | tee "$work/output"
diff "$work/expected" "$work/output" && echo "as it was seen"
