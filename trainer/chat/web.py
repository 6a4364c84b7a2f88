"""A conversation in the browser: Gradio's chat, on this machine alone.

Nothing leaves the machine (`local_page`), and nothing is stored: the conversation lives in the open
page.
"""

from __future__ import annotations

import contextlib
import re
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.components.chatbot import TextMessage

from chatdata.core.errors import ChatdataError
from trainer.chat import local_page, status
from trainer.chat.generation import ChatModel, Sampling
from trainer.chat.prompt_window import Message

# Gradio's trackers cover the button that stops an answer, and call a stopped answer an error.
_STYLE = """
#question [data-testid="status-tracker"], #status [data-testid="status-tracker"] { display: none; }
#question { border: 1px solid var(--border-color-primary); }
#status { min-height: 1.5em; } #status p { font-size: .8rem; opacity: .7; margin: 0; }
"""
# name, minimum, maximum, step, explanation
_SLIDERS = (
    ("temperature", 0, 2, 0.01, "0: always the most likely token"),
    ("top_p", 0.01, 1, 0.01, "draw from the most likely tokens with this total probability"),
    ("top_k", 0, 1000, 1, "draw from this many of the most likely tokens; 0: from all"),
    ("repetition_penalty", 1, 2, 0.01, "1: no penalty"),
    ("max_new_tokens", 1, 2048, 1, "the longest answer, in tokens"),
)


def run(
    chat_model: ChatModel, sampling: Sampling, title: str, system: str, host: str, port: int
) -> None:
    """Serves the page until Ctrl-C. Raises ConfigError for a port that cannot be used.

    What Gradio writes for the page is removed with it.
    """
    with local_page.temporary_files():
        page = start(chat_model, sampling, title, system, host, port)
        local_page.serve(page, host, port)


def start(
    chat_model: ChatModel, sampling: Sampling, title: str, system: str, host: str, port: int
) -> gr.Blocks:
    """The page, which is being served. Raises ConfigError for a port that cannot be used."""
    local_page.no_telemetry()
    page = build(chat_model, sampling, title, system)
    return local_page.launch(page, host, port, _STYLE)


def build(chat_model: ChatModel, sampling: Sampling, title: str, system: str) -> gr.Blocks:
    """The page: the conversation, and beside it the settings that are sent with each question."""
    with gr.Blocks(title=title, fill_height=True, analytics_enabled=False) as page:
        with gr.Sidebar(open=False, position="right"):
            settings = _settings(chat_model, sampling, system)
        status_line = gr.Markdown(elem_id="status", render=False)
        Interface(
            replies(chat_model),
            title=title,
            chatbot=_chatbot(),
            textbox=gr.Textbox(
                label="question",
                elem_id="question",
                placeholder="Enter sends, Shift+Enter begins a new line",
                max_lines=12,
                autofocus=True,
                submit_btn=True,
                stop_btn=True,
                scale=7,
            ),
            additional_inputs=list(settings),
            additional_outputs=[status_line],
            validator=_is_a_question,
            flagging_mode="never",
            show_progress="hidden",
            save_history=False,
            analytics_enabled=False,
            api_visibility="private",
        )
        status_line.render()
    return page


def _chatbot() -> gr.Chatbot:
    chatbot = gr.Chatbot(
        show_label=False,
        scale=1,
        buttons=["copy", "copy_all"],
        layout="bubble",
        placeholder="Ask something.",
        feedback_options=None,
        allow_file_downloads=False,
    )
    chatbot._postprocess_content = types.MethodType(_kept, chatbot)  # type: ignore[method-assign]
    return chatbot


def _kept(chatbot: gr.Chatbot, content: Any) -> Any:
    """A message for the page. Gradio takes the indentation out of texts, and the page's history is
    what the model reads in the next turn."""
    if isinstance(content, str):
        return TextMessage(text=content)
    return gr.Chatbot._postprocess_content(chatbot, content)


def _settings(
    chat_model: ChatModel, sampling: Sampling, system: str
) -> list[gr.components.Component]:
    """A component for each argument of `reply`, in their order."""
    values = sampling.model_dump()
    maxima = {"max_new_tokens": (chat_model.context() or 1 << 20) - 1}
    return [
        gr.Textbox(system, label="system turn", lines=3, max_lines=8),
        *(
            gr.Slider(
                min(low, values[name]),
                max(min(high, maxima.get(name, high)), values[name]),
                values[name],
                step=step,
                label=name,
                info=text,
            )
            for name, low, high, step, text in _SLIDERS
        ),
    ]


def _is_a_question(message: str, *_: Any) -> Any:
    return gr.validate(bool(message.strip()), "Type a question first.")


# ------------------------------------------------------------------------------- escaping tags

# The page renders Markdown, and HTML inside Markdown: `<b>` would be bold, and an unknown tag would
# vanish. Outside code a tag is escaped so that it can be read; the model is given the plain text.
_CODE = re.compile(r"(^ *```.*?(?:^ *```|\Z)|`[^`\n]*`)", re.DOTALL | re.MULTILINE)
_TAG = re.compile(r"&(?=amp;|lt;)|<(?=[A-Za-z/!?])")
_ESCAPED = {"&": "&amp;", "<": "&lt;"}


def escaped(text: str) -> str:
    """The Markdown that shows a text with its tags."""
    parts = _CODE.split(text)
    parts[::2] = [_TAG.sub(lambda match: _ESCAPED[match[0]], part) for part in parts[::2]]
    return "".join(parts)


def unescaped(text: str) -> str:
    """The text from which `escaped` made this Markdown."""
    parts = _CODE.split(text)
    parts[::2] = [part.replace("&lt;", "<").replace("&amp;", "&") for part in parts[::2]]
    return "".join(parts)


class Interface(gr.ChatInterface):
    """Gradio's chat interface, which also shows questions with their tags."""

    def _append_message_to_history(self, message: Any, history: Any, role: Any = "user") -> Any:
        text = escaped(message) if role == "user" else message
        return super()._append_message_to_history(text, history, role)

    def _pop_last_user_message(self, history: Any) -> Any:
        rest, message = super()._pop_last_user_message(history)
        return rest, unescaped(_text(message))


# -------------------------------------------------------------------------------------- replies


def replies(chat_model: ChatModel) -> Callable[..., Iterator[tuple[str, str]]]:
    """The function that Gradio calls, which yields the answer so far and the status line.

    Gradio closes the generator when the page is closed or stopped, and this stops the model.
    """

    def reply(
        message: str,
        history: Sequence[Mapping[str, Any]],
        system: str,
        temperature: float,
        top_p: float,
        top_k: int,
        repetition_penalty: float,
        max_new_tokens: int,
    ) -> Iterator[tuple[str, str]]:
        try:
            sampling = chat_model.sampling(
                {
                    "temperature": temperature,
                    "top_p": top_p,
                    "top_k": int(top_k),
                    "repetition_penalty": repetition_penalty,
                    "max_new_tokens": int(max_new_tokens),
                }
            )
            yield from _reply(chat_model, conversation(system, history, message), sampling)
        except ChatdataError as error:
            raise gr.Error(str(error), print_exception=False) from None

    return reply


def _reply(
    chat_model: ChatModel, messages: list[Message], sampling: Sampling
) -> Iterator[tuple[str, str]]:
    window = chat_model.prompt_window(messages, sampling)
    if warning := status.left_out(window):
        gr.Warning(warning)
    answer = chat_model.answer(window, sampling)
    text, updated = "", 0.0
    with contextlib.closing(iter(answer)) as pieces:
        for piece in pieces:
            text += piece
            if text.strip() and time.monotonic() - updated > _pause(text):
                updated = time.monotonic()
                yield escaped(text), ""
    yield escaped(text), status.status_line(chat_model, messages, window, answer, is_stopped=False)


def _pause(text: str) -> float:
    """Seconds until the next update. A page that draws a long answer again for each token has no
    time to notice a click."""
    return 0.05 + len(text) / 20_000


def conversation(system: str, history: Sequence[Mapping[str, Any]], message: str) -> list[Message]:
    """The messages of Gradio's history, after a system turn and before the new question.

    A question without an answer, which did not fit or was stopped, is left out.
    """
    head = [{"role": "system", "content": system}] if system.strip() else []
    turns = [
        {"role": turn["role"], "content": unescaped(_text(turn["content"]))} for turn in history
    ]
    next_roles = [*(turn["role"] for turn in turns[1:]), "user"]
    answered = [
        turn
        for turn, next_role in zip(turns, next_roles, strict=bool(turns))
        if turn["role"] != next_role
    ]
    return [*head, *answered, {"role": "user", "content": message}]


def _text(content: Any) -> str:
    """The text of a message, which Gradio keeps in parts."""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content)
