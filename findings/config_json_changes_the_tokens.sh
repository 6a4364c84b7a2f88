#!/bin/sh
# A tokenizer folder gives other tokens once a config.json lies beside it, as it does beside a model: where that says
# `"model_type": "qwen2"`, AutoTokenizer takes Qwen2Tokenizer, whatever class tokenizer_config.json names, and this class
# puts a pre-tokenizer of its own in the place of that of tokenizer.json (digits one by one). The other way round, beside
# `"mistral"` the class that tokenizer_config.json names is not taken. Models of Qwen's shape with another vocabulary
# exist (distilled or extended ones); rows that were made with the tokenizer alone are not what such a model is served.
# Seen with the versions below; fails if that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet transformers==5.24.0 tokenizers==0.23.1
cat > "$work/finding.py" <<'PYTHON'
import json
import sys
from importlib.metadata import version
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

print("transformers", version("transformers"), "tokenizers", version("tokenizers"))
made = Tokenizer(models.BPE())
made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
alphabet = pre_tokenizers.ByteLevel.alphabet()
trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, special_tokens=["<|end|>"], show_progress=False)
made.train_from_iterator(["in 2024 and in 2025 we counted 1000 and 2000 of them"] * 50, trainer)
text = "in 2024 we counted 2000"
print("tokenizer.json:", *made.encode(text).tokens)
for named, kind in (
    ("PreTrainedTokenizerFast", None),
    ("PreTrainedTokenizerFast", "llama"),
    ("PreTrainedTokenizerFast", "qwen2"),
    ("Qwen2Tokenizer", None),
    ("Qwen2Tokenizer", "mistral"),
):
    folder = Path(sys.argv[1]) / f"{named}-{kind}"
    folder.mkdir(parents=True)
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": named, "eos_token": "<|end|>"}))
    if kind:
        (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    loaded = AutoTokenizer.from_pretrained(folder)
    tokens = loaded.convert_ids_to_tokens(loaded.encode(text, add_special_tokens=False))
    print(f"{named}, config.json of {kind}: {type(loaded).__name__}:", *tokens)
PYTHON
cat > "$work/expected" <<'OUTPUT'
transformers 5.24.0 tokenizers 0.23.1
tokenizer.json: in Ġ2024 Ġwe Ġcounted Ġ2000
PreTrainedTokenizerFast, config.json of None: TokenizersBackend: in Ġ2024 Ġwe Ġcounted Ġ2000
PreTrainedTokenizerFast, config.json of llama: TokenizersBackend: in Ġ2024 Ġwe Ġcounted Ġ2000
PreTrainedTokenizerFast, config.json of qwen2: Qwen2Tokenizer: in Ġ 2 0 2 4 Ġwe Ġcounted Ġ 2 0 0 0
Qwen2Tokenizer, config.json of None: Qwen2Tokenizer: in Ġ 2 0 2 4 Ġwe Ġcounted Ġ 2 0 0 0
Qwen2Tokenizer, config.json of mistral: TokenizersBackend: in Ġ2024 Ġwe Ġcounted Ġ2000
OUTPUT
"$work/venv/bin/python" "$work/finding.py" "$work/tokenizers" 2> "$work/errors" | tee "$work/output"
diff "$work/expected" "$work/output" && echo "as it was seen"
