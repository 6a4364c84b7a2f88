"""A conversation in the browser: Gradio's chat, on this machine alone.

Nothing leaves the machine: the page has no telemetry and loads nothing from elsewhere, and a
policy (CSP) keeps the browser from following an address that a model has written into an image.
Nothing is stored: the conversation lives in the open page.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from chatdata.core.errors import ChatdataError, ConfigError
from trainer.chat import status
from trainer.chat.generation import Sampling, Speaker
from trainer.chat.prompt_window import Message

# Scripts and styles are the page's own and stand in it; images may be in the page, nothing else.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'self'; frame-ancestors 'none'"
)
# Gradio's trackers lie over the button that stops an answer, and call a stopped one an error.
_STYLE = """
#question [data-testid="status-tracker"], #remark [data-testid="status-tracker"] { display: none; }
#question { border: 1px solid var(--border-color-primary); }
#remark { min-height: 1.5em; } #remark p { font-size: .8rem; opacity: .7; margin: 0; }
"""
# name, lowest, highest, step, what it does
_SLIDERS = (
    ("temperature", 0, 2, 0.01, "0: the likeliest token, always"),
    ("top_p", 0.01, 1, 0.01, "of the likeliest tokens, this mass"),
    ("top_k", 0, 1000, 1, "of the likeliest tokens, so many; 0: all"),
    ("repetition_penalty", 1, 2, 0.01, "1: none"),
    ("max_new_tokens", 1, 2048, 1, "the longest answer"),
)


def run(
    speaker: Speaker, sampling: Sampling, title: str, system: str, host: str, port: int
) -> None:
    """Serves the page until Ctrl-C. Raises ConfigError where the port is taken."""
    page = start(speaker, sampling, title, system, host, port)
    print(f"http://{host}:{port}  (Ctrl-C ends it)", flush=True)  # noqa: T201
    with contextlib.suppress(KeyboardInterrupt):
        while page.is_running:
            time.sleep(0.2)
    page.close(verbose=False)


def start(
    speaker: Speaker, sampling: Sampling, title: str, system: str, host: str, port: int
) -> gr.Blocks:
    """Starts to serve the page, and returns it."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    page = build(speaker, sampling, title, system)
    try:
        page.launch(
            server_name=host,
            server_port=port,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            ssr_mode=False,
            pwa=False,
            enable_monitoring=False,
            run_history=False,  # else each question is kept in the browser
            footer_links=[],
            theme=_theme(),
            css=_STYLE,
            app_kwargs={"middleware": [Middleware(LocalOnly)]},
        )
    except OSError as error:
        raise ConfigError(f"port {port} of {host} cannot be used ({error}); give --port.") from None
    return page


def _theme() -> gr.themes.Base:
    """Fonts that every machine has, and labels that do not shout."""
    own = gr.themes.Soft(
        primary_hue="teal",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    return own.set(
        background_fill_primary="*neutral_50",
        block_title_background_fill="transparent",
        block_title_text_color="*body_text_color",
        block_title_padding="0",
    )


def build(speaker: Speaker, sampling: Sampling, title: str, system: str) -> gr.Blocks:
    """The page: the conversation, and beside it the settings that go with each question."""
    with gr.Blocks(title=title, fill_height=True, analytics_enabled=False) as page:
        with gr.Sidebar(open=False, position="right"):
            settings = _settings(speaker, sampling, system)
        remark = gr.Markdown(elem_id="remark", render=False)
        Interface(
            replies(speaker),
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
            additional_outputs=[remark],
            validator=_says_something,
            flagging_mode="never",
            show_progress="hidden",
            save_history=False,
            analytics_enabled=False,
            api_visibility="private",
        )
        remark.render()
    return page


def _chatbot() -> gr.Chatbot:
    return gr.Chatbot(
        show_label=False,
        scale=1,
        buttons=["copy", "copy_all"],
        layout="bubble",
        placeholder="Ask something.",
        feedback_options=None,
        allow_file_downloads=False,
    )


def _settings(speaker: Speaker, sampling: Sampling, system: str) -> list[gr.components.Component]:
    """A component for each argument of `reply`, in their order."""
    own = sampling.model_dump()
    most = {"max_new_tokens": (speaker.context() or 1 << 20) - 1}
    return [
        gr.Textbox(system, label="system turn", lines=3, max_lines=8),
        *(
            gr.Slider(
                min(low, own[name]),
                max(min(high, most.get(name, high)), own[name]),
                own[name],
                step=step,
                label=name,
                info=text,
            )
            for name, low, high, step, text in _SLIDERS
        ),
    ]


def _says_something(message: str, *_: Any) -> Any:
    return gr.validate(bool(message.strip()), "There is no question.")


# ------------------------------------------------------------------------------- what is shown

# The page renders Markdown, and HTML in it: `<b>` would be bold and an unknown tag gone. Outside
# code a tag is written so that it is seen; what a model is given is the text that is meant.
_CODE = re.compile(r"(^ *```.*?(?:^ *```|\Z)|`[^`\n]*`)", re.DOTALL | re.MULTILINE)
_TAG = re.compile(r"&(?=amp;|lt;)|<(?=[A-Za-z/!?])")
_WRITTEN = {"&": "&amp;", "<": "&lt;"}


def shown(text: str) -> str:
    """The Markdown that shows a text with its tags."""
    parts = _CODE.split(text)
    parts[::2] = [_TAG.sub(lambda own: _WRITTEN[own[0]], part) for part in parts[::2]]
    return "".join(parts)


def meant(text: str) -> str:
    """The text that `shown` was given."""
    parts = _CODE.split(text)
    parts[::2] = [part.replace("&lt;", "<").replace("&amp;", "&") for part in parts[::2]]
    return "".join(parts)


class Interface(gr.ChatInterface):
    """Gradio's, whose questions are shown with their tags, as its answers are."""

    def _append_message_to_history(self, message: Any, history: Any, role: Any = "user") -> Any:
        text = shown(message) if role == "user" else message
        return super()._append_message_to_history(text, history, role)

    def _pop_last_user_message(self, history: Any) -> Any:
        rest, message = super()._pop_last_user_message(history)
        return rest, meant(_text(message))


# -------------------------------------------------------------------------------------- replies


def replies(speaker: Speaker) -> Callable[..., Iterator[tuple[str, str]]]:
    """The function that Gradio calls: it yields the answer so far, and a remark on it.

    Where the page is closed or stopped, the generator is closed, and with it the model.
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
            sampling = speaker.sampling(
                {
                    "temperature": temperature,
                    "top_p": top_p,
                    "top_k": int(top_k),
                    "repetition_penalty": repetition_penalty,
                    "max_new_tokens": int(max_new_tokens),
                }
            )
            yield from _reply(speaker, conversation(system, history, message), sampling)
        except ChatdataError as error:
            raise gr.Error(str(error), print_exception=False) from None

    return reply


def _reply(
    speaker: Speaker, messages: list[Message], sampling: Sampling
) -> Iterator[tuple[str, str]]:
    seen = speaker.see(messages, sampling)
    if said := status.left_out(seen):
        gr.Warning(said)
    answer = speaker.answer(seen, sampling)
    text, told = "", 0.0
    with contextlib.closing(iter(answer)) as pieces:
        for piece in pieces:
            text += piece
            if text.strip() and time.monotonic() - told > _pause(text):
                told = time.monotonic()
                yield shown(text), ""
    yield shown(text), status.cost(speaker, messages, seen, answer, stopped=False)


def _pause(text: str) -> float:
    """Seconds until the next update: a page that writes a long answer anew for each token has no
    time for a click."""
    return 0.05 + len(text) / 20_000


def conversation(system: str, history: Sequence[Mapping[str, Any]], message: str) -> list[Message]:
    """The messages of Gradio's history, a system turn before and the new question behind them.

    A question that has no answer, for it did not fit or was stopped, is not among them.
    """
    head = [{"role": "system", "content": system}] if system.strip() else []
    turns = [{"role": own["role"], "content": meant(_text(own["content"]))} for own in history]
    followers = [*(own["role"] for own in turns[1:]), "user"]
    answered = [
        own
        for own, follower in zip(turns, followers, strict=bool(turns))
        if own["role"] != follower
    ]
    return [*head, *answered, {"role": "user", "content": message}]


def _text(content: Any) -> str:
    """The text of a message, which Gradio keeps in parts."""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content)


class LocalOnly:
    """Tells the browser, with every response, to load nothing from elsewhere."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Passes a request on, and adds headers to the response."""

        async def with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = [
                    (b"content-security-policy", _POLICY.encode()),
                    (b"referrer-policy", b"no-referrer"),
                ]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        await self.app(scope, receive, with_policy)
