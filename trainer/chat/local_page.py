"""A page of Gradio, served on this machine alone.

Nothing leaves the machine: the page has no telemetry and loads nothing from other servers, and a
policy (CSP) keeps the browser from following an address that a model has written into an image.
Other pages, names that a stranger lets mean this machine, and uploads are refused (`local_only`).
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator

import gradio as gr
from starlette.middleware import Middleware

from chatdata.core import interrupts
from chatdata.core.errors import ConfigError
from trainer.chat.local_only import LocalOnly


@contextlib.contextmanager
def temporary_files() -> Iterator[None]:
    """What Gradio writes for a page that is started in the block is removed with the block."""
    with tempfile.TemporaryDirectory(prefix="page-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        yield


def launch(page: gr.Blocks, host: str, port: int, style: str) -> gr.Blocks:
    """The page, which is being served. Raises ConfigError for a port that cannot be used.

    `GRADIO_ANALYTICS_ENABLED` has to be off before the page is built; `no_telemetry` does it.
    """
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
            run_history=False,  # the browser would keep each question
            footer_links=[],
            theme=_theme(),
            css=style,
            app_kwargs={"middleware": [Middleware(LocalOnly, host=host)]},
        )
    except OSError as error:
        raise ConfigError(
            f"port {port} of {host} cannot be used ({error}); choose another --port."
        ) from None
    return page


def no_telemetry() -> None:
    """Turns off what Gradio would send, from now on."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"


def serve(page: gr.Blocks, host: str, port: int) -> None:
    """Returns after Ctrl-C, which closes the page."""
    print(f"http://{host}:{port}  (Ctrl-C stops the server)", flush=True)  # noqa: T201
    try:
        while page.is_running:
            time.sleep(0.2)
    except KeyboardInterrupt:
        interrupts.answered()
    page.close(verbose=False)


def _theme() -> gr.themes.Base:
    """Gradio's soft theme, with fonts that every machine has and labels without a background."""
    soft = gr.themes.Soft(
        primary_hue="teal",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    return soft.set(
        background_fill_primary="*neutral_50",
        block_title_background_fill="transparent",
        block_title_text_color="*body_text_color",
        block_title_padding="0",
    )
