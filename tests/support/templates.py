"""Chat templates, loaded beside a tokenizer of bytes, and the rows that they write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chatdata.core.constants import IGNORE_INDEX
from chatdata.render.fit import fit
from chatdata.render.options import Render
from chatdata.render.rows import Rendered, render
from chatdata.render.segments.text_pool import TextPool
from chatdata.render.tokenizer import Tokenizer
from tests.support.carrying import carry, load
from tests.support.conversations import Turns, table

OPTIONS = Render(tokenizer="t", template="tokenizer")


HEAD = "{% for m in messages %}"


TURN = "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"


PROMPT = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"


PLAIN = HEAD + TURN + "{% endfor %}" + PROMPT


# An end of text behind the conversation, so that it is no value of turns.
GENERATION = (
    HEAD
    + "{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' %}{% generation %}"
    + "{{ m['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}{% else %}"
    + "{{ m['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    + "{% else %}{{ eos_token }}{% endif %}"
)


ENDED = PLAIN.removesuffix("{% endif %}") + "{% else %}{{ eos_token }}{% endif %}"


TRIMMED = PLAIN.replace("m['content']", "m['content'] | trim")


THINKING = (  # what was thought before the last answer is forgotten
    HEAD
    + "{% set c = m['content'] %}{% if m['role'] == 'assistant' and not loop.last %}"
    + "{% set c = c.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    + TURN.replace("m['content']", "c")
    + "{% endfor %}"
    + PROMPT
)


# As Qwen3: thoughts of earlier answers are forgotten, the last answer has one, maybe empty; results
# of tools are no questions, and are known by a pair of tags.
FORGETTING = """\
{%- set ns = namespace(last=0) -%}
{%- for m in messages -%}
  {%- set ends = m.content.endswith('</result>') -%}
  {%- if m.role == 'user' and not (m.content.startswith('<result>') and ends) -%}
    {%- set ns.last = loop.index0 -%}
  {%- endif -%}
{%- endfor -%}
{%- for m in messages -%}
  {{- '<|im_start|>' + m.role + '\\n' -}}
  {%- if m.role == 'assistant' -%}
    {%- set words = m.content.split('</think>')[-1].lstrip('\\n') -%}
    {%- set thought = m.reasoning_content or '' -%}
    {%- if '</think>' in m.content -%}
      {%- set thought = m.content.split('</think>')[0].split('<think>')[-1].strip('\\n') -%}
    {%- endif -%}
    {%- if loop.index0 > ns.last -%}
      {{- '<think>\\n' + thought + '\\n</think>\\n\\n' -}}
    {%- endif -%}
    {{- words -}}
  {%- else -%}
    {{- m.content -}}
  {%- endif -%}
  {{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""


# Like Qwen's: thoughts before the last question are forgotten, an answer without reasoning gets a
# thought without words, and calls and results stand between tags.
QWEN_LIKE = """\
{%- set last = namespace(question=0) %}
{%- for m in messages %}
  {%- if m.role == 'user' %}{% set last.question = loop.index0 %}{% endif %}
{%- endfor %}
{%- for m in messages %}
  {%- set words = m.content or '' %}
  {%- if m.role == 'tool' %}
    {{- '<|im_start|>user\\n<tool_response>\\n' + words + '\\n</tool_response><|im_end|>\\n' }}
  {%- elif m.role == 'assistant' %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if loop.index0 > last.question %}
      {{- '<think>\\n' + (m.reasoning_content or '') + '\\n</think>\\n\\n' }}
    {%- endif %}
    {{- words }}
    {%- for c in m.tool_calls or [] %}
      {{- '<tool_call>\\n' + c.function | tojson + '\\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
  {%- else %}
    {{- '<|im_start|>' + m.role + '\\n' + words + '<|im_end|>\\n' }}
  {%- endif %}
{%- endfor %}
{%- if tools %}{{- tools | tojson }}{% endif %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif %}
"""


def load_bytes(template: str, folder: Path, **variables: Any) -> Tokenizer:
    return load(carry(None, template, folder / "t"), folder / "w", **variables)


def run(tokenizer: Tokenizer, conversations: dict[str, Turns], **settings: Any) -> Rendered:
    options = OPTIONS.model_copy(update=settings)
    texts = TextPool(tokenizer)
    fitted = fit(table(conversations), texts, options)
    return render(fitted.messages, fitted.windows, texts, options)


def rows(rendered: Rendered) -> Iterator[tuple[str, list[dict[str, str]], list[int], list[int]]]:
    """Yields (id, turns, ids, labels) of each row."""
    messages_by_row = rendered.row_messages.partition_by("conversation", maintain_order=True)
    for number, (name, messages) in enumerate(zip(rendered.ids, messages_by_row, strict=True)):
        start, end = rendered.offsets[number : number + 2]
        ids, labels = rendered.input_ids[start:end], rendered.labels[start:end]
        yield name, messages.select("role", "content").to_dicts(), ids.tolist(), labels.tolist()


def bracketed(rendered: Rendered, tokenizer: Tokenizer) -> list[str]:
    """The rows as text, trained text in brackets."""
    texts = []
    for _, _, ids, labels in rows(rendered):
        text, inside = "", False
        for id, label in [*zip(ids, labels, strict=True), (None, IGNORE_INDEX)]:
            if (label != IGNORE_INDEX) != inside:
                text += "]" if inside else "["
                inside = not inside
            text += tokenizer.decode([id]) if id is not None else ""
        texts.append(text)
    return texts
