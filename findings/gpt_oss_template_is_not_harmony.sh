#!/bin/sh
# The chat template of gpt-oss (as TRL ships it: gptoss.jinja) and OpenAI's own encoder of that format,
# openai-harmony, write different text for one conversation:
#   - a tool's result is a JSON string in the template (quotes and backslashes added), and as it is in harmony;
#   - instructions without tools end with a blank line in the template alone;
#   - harmony's render_conversation_for_training leaves out every thought before the last answer in words, and
#     the thought of that answer too, unless auto_drop_analysis is turned off: it is on by default.
# A model that is trained on one and served by the other meets text that it never saw.
# The encoder downloads its vocabulary; a package carries the same file.
# Seen with the versions below; fails if that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet transformers==5.24.0 jinja2==3.1.6 openai-harmony==0.0.8
"$work/venv/bin/pip" install --quiet --no-deps trl==1.16.0
"$work/venv/bin/pip" download --quiet --no-deps --dest "$work" litellm==1.110.2
python3 -m zipfile -e "$work"/litellm-*.whl "$work/litellm"
mv "$(find "$work/litellm" -name fb374d419588a4632f3f557e76b4b70aebbca790)" "$work/o200k_base.tiktoken"
export TIKTOKEN_ENCODINGS_BASE="$work"
cat > "$work/finding.py" <<'PYTHON'
import importlib.util
from importlib.metadata import version
from pathlib import Path

import tokenizers
from openai_harmony import (
    Author, Conversation, DeveloperContent, HarmonyEncodingName, Message, RenderConversationConfig, Role,
    load_harmony_encoding,
)
from transformers import PreTrainedTokenizerFast

print("transformers", version("transformers"), "trl", version("trl"), "harmony", version("openai-harmony"))
backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
folder = Path(importlib.util.find_spec("trl").origin).parent / "chat_templates"
tokenizer.chat_template = (folder / "gptoss.jinja").read_text()
encoding = load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)


def harmony(*messages, config=None):
    conversation = Conversation.from_messages(list(messages))
    return encoding.decode_utf8(encoding.render_conversation_for_training(conversation, config))


def say(role, words):
    return Message.from_role_and_content(role, words)


call = {"type": "function", "function": {"name": "tide", "arguments": {"port": "Faro"}}}
talk = [
    {"role": "user", "content": "When is high water?"},
    {"role": "assistant", "tool_calls": [call]},
    {"role": "tool", "content": '{"at": "six"}'},
]
text = tokenizer.apply_chat_template(talk, tokenize=False)
print("template, result:", text.rpartition("<|message|>")[2])
tool = Author.new(Role.TOOL, "functions.tide")
result = Message.from_author_and_content(tool, '{"at": "six"}').with_channel("commentary")
print("harmony,  result:", harmony(result).rpartition("<|message|>")[2])

talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
text = tokenizer.apply_chat_template(talk, tokenize=False)
print("template, instructions:", repr(text.partition("# Instructions\n\n")[2].partition("<|end|>")[0]))
instructions = say(Role.DEVELOPER, DeveloperContent.new().with_instructions("Be brief."))
print("harmony,  instructions:", repr(harmony(instructions).partition("# Instructions\n\n")[2][:-7]))

turns = [
    say(Role.USER, "Two and two?"),
    say(Role.ASSISTANT, "Easy.").with_channel("analysis"),
    say(Role.ASSISTANT, "4").with_channel("final"),
]
print("harmony, for training:", harmony(*turns))
print("harmony, with thoughts:", harmony(*turns, config=RenderConversationConfig(auto_drop_analysis=False)))
PYTHON
"$work/venv/bin/python" "$work/finding.py" 2> "$work/errors" > "$work/output" || { cat "$work/errors"; exit 1; }
cat > "$work/expected" <<'OUTPUT'
transformers 5.24.0 trl 1.16.0 harmony 0.0.8
template, result: "{\"at\": \"six\"}"<|end|>
harmony,  result: {"at": "six"}<|end|>
template, instructions: 'Be brief.\n\n'
harmony,  instructions: 'Be brief.'
harmony, for training: <|start|>user<|message|>Two and two?<|end|><|start|>assistant<|channel|>final<|message|>4<|return|>
harmony, with thoughts: <|start|>user<|message|>Two and two?<|end|><|start|>assistant<|channel|>analysis<|message|>Easy.<|end|><|start|>assistant<|channel|>final<|message|>4<|return|>
OUTPUT
cat "$work/output"
diff "$work/expected" "$work/output" && echo "as it was seen"
