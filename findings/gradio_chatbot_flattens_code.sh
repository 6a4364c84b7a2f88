#!/bin/sh
# Gradio's Chatbot runs `inspect.cleandoc` over every text of a conversation, as if it were a docstring: the indentation
# of the first line goes, and that which the lines after it have in common goes by itself. What was indented below the
# first line then stands beside it, so that Python code changes its meaning. An app that takes its history from the
# component hands the changed texts to the model as what was said before. A fenced block keeps its shape,
# since its last line stands at the margin.
# Source: gradio/components/chatbot.py, `_postprocess_content`.
# Seen with the version below; fails if that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet gradio==6.31.0
cat > "$work/finding.py" <<'PYTHON'
from importlib.metadata import version

import gradio

chatbot = gradio.Chatbot()
print("gradio", version("gradio"))
for said in ("    if n == 0:\n        return 1\n", "for n in range(3):\n    print(n)\n", "```\n    x\n```"):
    history = [{"role": "assistant", "content": said}]
    (message,) = chatbot.preprocess(chatbot.postprocess(history))
    (part,) = message["content"]
    print(repr(said), "comes back as", repr(part["text"]))
PYTHON
"$work/venv/bin/python" "$work/finding.py" > "$work/output"
cat > "$work/expected" <<'OUTPUT'
gradio 6.31.0
'    if n == 0:\n        return 1\n' comes back as 'if n == 0:\nreturn 1'
'for n in range(3):\n    print(n)\n' comes back as 'for n in range(3):\nprint(n)'
'```\n    x\n```' comes back as '```\n    x\n```'
OUTPUT
cat "$work/output"
diff "$work/expected" "$work/output" && echo "as it was seen"
