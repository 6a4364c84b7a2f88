"""A chat template that leaves out the end of the last answer, made to write it.

Some templates (GLM 4.5, Apertus, Hy3) write what ends an answer only once another turn follows. A
model is served with such a template and stops at that token, so rows need it.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace

from chatdata.core.errors import RenderError
from chatdata.render.chat_template.discovery import missing_end
from chatdata.render.chat_template.probes import is_taken, make_conversation
from chatdata.render.chat_template.template import JinjaTemplate

_ROLES = ("u", "ua", "uaua", "sua", "su")
_IS_ANSWERED = "messages and messages[-1]['role'] == 'assistant' and not add_generation_prompt"
_ADDED = re.compile(
    rf'{{% if {re.escape(_IS_ANSWERED)} %}}{{{{ "(?:[^"\\]|\\.)*" }}}}{{% endif %}}\Z'
)


def with_added_end(template: JinjaTemplate) -> JinjaTemplate:
    """The template, whose last answer ends as earlier answers do.

    Its source is the source of the template with a condition behind it, which generation prompts
    do not meet. A template that has the condition already, as that of a folder has, comes out as it
    is. Raises RenderError where the last answer has an end, or earlier answers have none.
    """
    template = replace(template, source=_ADDED.sub("\n", template.source))
    end = missing_end(template)
    if end is None:
        raise RenderError(
            "render.add_end is true, but the chat template ends the last answer like earlier ones, "
            "or ends none with a special token; leave add_end out, or choose another template."
        )
    condition = f"{{% if {_IS_ANSWERED} %}}{{{{ {json.dumps(end)} }}}}{{% endif %}}"
    amended = replace(
        template, source=template.source.removesuffix("\n") + condition, added_end=end
    )
    if not all(_is_right(template, amended, roles) for roles in _ROLES):
        raise RenderError(
            "the chat template cannot be made to end the last answer; choose another."
        )
    return amended


def _is_right(template: JinjaTemplate, amended: JinjaTemplate, roles: str) -> bool:
    """Whether the amended template writes the same, and the end where an answer comes last."""
    messages = make_conversation(roles)
    if not is_taken(template, messages):
        return not is_taken(amended, messages)
    end = amended.added_end if roles.endswith("a") else ""
    prompts = [each.text(messages, add_generation_prompt=True) for each in (template, amended)]
    return amended.text(messages) == template.text(messages) + end and len(set(prompts)) == 1
