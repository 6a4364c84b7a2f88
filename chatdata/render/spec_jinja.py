"""The Jinja of a template that is a value, for `tokenizer.chat_template`.

Turns are written as the value says. Reasoning and tools have the form of Hermes and Qwen, which
needs no tokens of its own:

    system     WORDS \\n\\n <tools> [{"type": "function", ...}] </tools>
    assistant  <think> REASONING </think> \\n\\n WORDS \\n <tool_call> {"name": ...} </tool_call>
    user       <tool_response> RESULT </tool_response>

Results that follow each other stand in a single turn; a developer's turn is a system turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chatdata.render.template_spec import TemplateSpec, Turn

_SHAPE = """\
{%- set leads = ['system', 'developer'] -%}
{%- if tools -%}
  {%- set listed = '<tools>\\n' + (tools | tojson) + '\\n</tools>' -%}
{%- endif -%}
{%- if not messages or messages[0]['role'] not in leads -%}
  {%- if tools -%}
    {{- SYSTEM_BEFORE + DEFAULT + listed + SYSTEM_AFTER -}}
  {%- else -%}
    {{- START -}}
  {%- endif -%}
{%- endif -%}
{%- for message in messages -%}
  {%- set words = message['content'] or '' -%}
  {%- if message['role'] in leads -%}
    {%- if loop.first and tools -%}
      {%- set words = (words + '\\n\\n' if words else '') + listed -%}
    {%- endif -%}
    {{- SYSTEM_BEFORE + words + SYSTEM_AFTER -}}
  {%- elif message['role'] == 'user' -%}
    {{- USER_BEFORE + words + USER_AFTER -}}
  {%- elif message['role'] == 'assistant' -%}
    {{- ASSISTANT_BEFORE -}}
    {%- if message['reasoning_content'] -%}
      {{- '<think>\\n' + message['reasoning_content'].strip('\\n') + '\\n</think>\\n\\n' -}}
    {%- endif -%}
    {{- words -}}
    {%- for call in message['tool_calls'] or [] -%}
      {%- set function = call['function'] or call -%}
      {%- set called = {'name': function['name'], 'arguments': function['arguments']} -%}
      {{- '\\n' if words or not loop.first -}}
      {{- '<tool_call>\\n' + (called | tojson) + '\\n</tool_call>' -}}
    {%- endfor -%}
    {{- ASSISTANT_AFTER -}}
  {%- elif message['role'] == 'tool' -%}
    {%- set follows = loop.previtem is defined and loop.previtem['role'] == 'tool' -%}
    {{- '\\n' if follows else USER_BEFORE -}}
    {{- '<tool_response>\\n' + words + '\\n</tool_response>' -}}
    {%- if loop.last or loop.nextitem['role'] != 'tool' -%}
      {{- USER_AFTER -}}
    {%- endif -%}
  {%- else -%}
    {{- raise_exception('unknown role: ' + message['role']) -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- GENERATION_PROMPT -}}
{%- endif -%}
"""


def jinja(spec: TemplateSpec) -> str:
    """The Jinja of a template with turns for system, user and assistant."""
    system = spec.turns["system"]
    default = spec.start[len(system.before()) : len(spec.start) - len(_end(system))]
    values = {
        "DEFAULT": default + "\n\n" if spec.start else "",
        "START": spec.start,
        "GENERATION_PROMPT": spec.generation_prompt,
    }
    for role, turn in spec.turns.items():
        values |= {f"{role.upper()}_BEFORE": turn.before(), f"{role.upper()}_AFTER": _end(turn)}
    text = _SHAPE
    for name, value in values.items():
        text = text.replace(name, _quote(value))
    return text


def _end(turn: Turn) -> str:
    return turn.close + turn.after


def _quote(text: str) -> str:
    """A Jinja string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"
