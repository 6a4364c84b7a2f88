#!/bin/sh
# Some chat templates write the tokens with which a text begins, and the tokenizer adds the same in front of every
# text. lm-eval leaves out the second where the prompt begins with `tokenizer.bos_token`; of all else that a
# tokenizer adds it knows nothing. A tokenizer that adds tokens of other names (two of them below, as the GLM family
# has) puts them in front of a prompt that has them: the model is asked with a beginning that it never saw, and no
# word is said.
# Seen with the versions below; fails if that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet \
    "lm_eval[hf]==0.4.13" transformers==5.24.0 "torch>=2.7,<2.14" datasets==5.2.0
cat > "$work/finding.py" <<'PYTHON'
import warnings
from importlib.metadata import version

warnings.simplefilter("ignore")
from lm_eval.models.huggingface import HFLM
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

print(*(f"{name} {version(name)}" for name in ("lm_eval", "transformers")))
words = ["[unk]", "[mask]", "<sop>", "<s>", "user", "Hi"]
by_words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, "[unk]"))
by_words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()


def asked(starts, **names):
    """The tokens of a prompt that a template begins with `starts`, as lm-eval asks them."""
    by_words.post_processor = TemplateProcessing(
        single=" ".join([*starts, "$A"]), special_tokens=[(s, words.index(s)) for s in starts]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=by_words, eos_token="[unk]", **names)
    tokenizer.add_special_tokens({"additional_special_tokens": list(starts)})
    tokenizer.chat_template = "".join(starts) + "{% for m in messages %} user {{ m.content }}{% endfor %}"
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    network = LlamaForCausalLM(LlamaConfig(vocab_size=len(words), **size))
    model = HFLM(pretrained=network, tokenizer=tokenizer)
    prompt = model.apply_chat_template([{"role": "user", "content": "Hi"}])
    return tokenizer.convert_ids_to_tokens(model.tok_encode(prompt))


print("a begin token that is named:", asked(["<s>"], bos_token="<s>"))
print("one that is not:", asked(["<s>"]))
print("two:", asked(["[mask]", "<sop>"]))
PYTHON
cat > "$work/expected" <<'OUTPUT'
lm_eval 0.4.13 transformers 5.24.0
a begin token that is named: ['<s>', 'user', 'Hi']
one that is not: ['<s>', '<s>', 'user', 'Hi']
two: ['[mask]', '<sop>', '[mask]', '<sop>', 'user', 'Hi']
OUTPUT
"$work/venv/bin/python" "$work/finding.py" 2> "$work/errors" | tee "$work/output"
diff "$work/expected" "$work/output" && echo "as it was seen"
