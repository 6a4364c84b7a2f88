#!/bin/sh
# transformers' LlamaTokenizer, made of a SentencePiece model (tokenizer.model, no tokenizer.json), writes
# runs of spaces with other tokens than the model itself. It orders merges by the numbers of the pieces; the
# model orders them by their scores. TokenizersBackend, made of the same file, is right. Code is indented
# with such runs, and which of the classes is taken depends on config.json.
# The model is Mistral's first, as mistral-common ships it. Seen with the versions below; fails if that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet \
    transformers==5.24.0 sentencepiece==0.2.3 protobuf==7.36.2 mistral-common==1.13.1
cat > "$work/finding.py" <<'PYTHON'
import json
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import mistral_common
import sentencepiece
from transformers import AutoTokenizer

work = Path(sys.argv[1])
shipped = Path(mistral_common.__file__).parent / "data" / "tokenizer.model.v1"
text = "a  b   c    d"
print("transformers", version("transformers"), "sentencepiece", version("sentencepiece"))
model = sentencepiece.SentencePieceProcessor(model_file=str(shipped))
print("the model:", *model.encode(text, out_type=str))
for tokenizer_class, kind in (("LlamaTokenizer", "llama"), (None, "mistral")):
    folder = work / kind
    folder.mkdir()
    shutil.copy(shipped, folder / "tokenizer.model")
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    named = {"tokenizer_class": tokenizer_class} if tokenizer_class else {}
    (folder / "tokenizer_config.json").write_text(json.dumps({**tokens, **named}))
    made = AutoTokenizer.from_pretrained(folder)
    ids = made.encode(text, add_special_tokens=False)
    print(f"{type(made).__name__}:", *made.convert_ids_to_tokens(ids))
PYTHON
cat > "$work/expected" <<'OUTPUT'
transformers 5.24.0 sentencepiece 0.2.3
the model: ▁a ▁ ▁b ▁▁ ▁c ▁▁▁ ▁d
LlamaTokenizer: ▁a ▁▁ b ▁▁ ▁c ▁▁▁▁ d
TokenizersBackend: ▁a ▁ ▁b ▁▁ ▁c ▁▁▁ ▁d
OUTPUT
"$work/venv/bin/python" "$work/finding.py" "$work" 2> "$work/errors" | tee "$work/output"
diff "$work/expected" "$work/output" && echo "as it was seen"
