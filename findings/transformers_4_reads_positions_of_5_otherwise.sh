#!/bin/sh
# A Llama that transformers 5 has saved loads in 4.57 without a word, with another base frequency of positions than
# it was trained with: 5 writes `rope_parameters`, which 4.57 does not know, and no `rope_theta`, for which 4.57
# takes 10,000. Llama 3 has 500,000. With `rope_theta` beside `rope_parameters` both read the same number.
# The number is what both compute the positions' cosines with; configurations are read here, so that no PyTorch is
# installed. Seen with the versions below; fails if that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-compile transformers==5.24.0
"$work/venv/bin/pip" install --quiet --no-compile --target "$work/four" --no-deps \
    transformers==4.57.6 'huggingface_hub<1' 'tokenizers>=0.22,<=0.23' requests charset-normalizer urllib3 idna certifi
cat > "$work/finding.py" <<'PYTHON'
import sys
import warnings

import transformers
from transformers import LlamaConfig

folder, *written = sys.argv[1:]
if written:
    LlamaConfig(rope_parameters={"rope_type": "default", "rope_theta": 500000.0}).save_pretrained(folder)
with warnings.catch_warnings(record=True) as warned:
    config = LlamaConfig.from_pretrained(folder)
assert not warned, warned
four = getattr(config, "rope_theta", None)
print(transformers.__version__, config.rope_parameters["rope_theta"] if four is None else four)
PYTHON
run() { "$work/venv/bin/python" "$work/finding.py" "$work/model" "$@" 2>> "$work/errors"; }
{
    run write
    PYTHONPATH="$work/four" run
    sed -i 's/^{/{"rope_theta": 500000.0,/' "$work/model/config.json"
    run
    PYTHONPATH="$work/four" run
} | tee "$work/output"
cat > "$work/expected" <<'OUTPUT'
5.24.0 500000.0
4.57.6 10000.0
5.24.0 500000.0
4.57.6 500000.0
OUTPUT
grep -v "PyTorch was not found\|None of PyTorch" "$work/errors" || true
diff "$work/expected" "$work/output" && echo "as it was seen"
