#!/bin/sh
# `transformers serve` speaks the chat completions of OpenAI, and answers with status 200 what it does not do: `n` and
# `logprobs` are ignored, and `temperature` does nothing where the model's own generation_config does not sample. So
# the samples of an evaluation such as pass@k are one greedy answer. A comment in cli/serving/chat_completion.py has it
# that such fields raise an error, to avoid this; the log names them, once.
# Seen with the versions below; fails if that changes.
set -eu
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet \
    "transformers[serving]==5.24.0" accelerate==1.15.0 "torch>=2.7,<2.14"
cat > "$work/model.py" <<'PYTHON'
import sys

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

words = [f"w{number}" for number in range(60)]
made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(["<unk>", "<end>", *words])}, "<unk>"))
made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", eos_token="<end>")
tokenizer.chat_template = "{% for m in messages %}{{ m.content }} {% endfor %}"
tokenizer.save_pretrained(sys.argv[1])
torch.manual_seed(0)
shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
model = LlamaForCausalLM(LlamaConfig(vocab_size=62, eos_token_id=1, tie_word_embeddings=True, **shape))
with torch.no_grad():  # each word is followed by the same word: the embedding is all that decides
    model.model.embed_tokens.weight.mul_(30)
model.save_pretrained(sys.argv[1])
PYTHON
cat > "$work/ask.py" <<'PYTHON'
import json
import sys
import time
import urllib.error
import urllib.request
from importlib.metadata import version


def ask(**settings):
    body = {"model": sys.argv[1], "messages": [{"role": "user", "content": "w1 w2 w3"}], "max_tokens": 4}
    url = f"http://127.0.0.1:{sys.argv[2]}/v1/chat/completions"
    data = json.dumps({**body, **settings}).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=120) as answer:
        return answer.status, json.loads(answer.read())["choices"]


for _ in range(240):
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[2]}/health", timeout=5)
        break
    except urllib.error.HTTPError:
        break
    except OSError:
        time.sleep(0.5)
print("transformers", version("transformers"))
_, (plain,) = ask()
print("plain:", plain["message"]["content"])
status, choices = ask(n=3, logprobs=True)
print(f"n=3, logprobs: status {status}, {len(choices)} choice, logprobs {choices[0].get('logprobs')}")
hot = {ask(temperature=2.0)[1][0]["message"]["content"] for _ in range(8)}
print(f"temperature=2, 8 times: {len(hot)} answer")
PYTHON
port=$("$work/venv/bin/python" -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")
"$work/venv/bin/python" "$work/model.py" "$work/model" > /dev/null 2>&1
"$work/venv/bin/transformers" serve --host 127.0.0.1 --port "$port" --device cpu > "$work/log" 2>&1 &
server=$!
cat > "$work/expected" <<'OUTPUT'
transformers 5.24.0
plain: w3 w3 w3 w3
n=3, logprobs: status 200, 1 choice, logprobs None
temperature=2, 8 times: 1 answer
OUTPUT
"$work/venv/bin/python" "$work/ask.py" "$work/model" "$port" | tee "$work/output"
diff "$work/expected" "$work/output" && echo "as it was seen"
