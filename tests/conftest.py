"""Fixtures: no network beyond loopback, real data where it is, the sample built once."""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatdata import build_dataset, load_recipe


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest --update-golden` writes what is compared with; look at the difference."""
    parser.addoption("--update-golden", action="store_true")


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a connection to another machine an error."""
    connect = socket.socket.connect

    def guarded(own: socket.socket, address: object) -> None:
        if own.family in (socket.AF_INET, socket.AF_INET6):
            assert isinstance(address, tuple)
            assert address[0] in ("127.0.0.1", "::1", "localhost"), f"network access: {address}"
        connect(own, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session", autouse=True)
def _no_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the Hub's caches out of the home directory, and its client off the network."""
    patch = pytest.MonkeyPatch()
    patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
    patch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    patch.setenv("HF_HUB_DISABLE_XET", "1")
    patch.setenv("HF_UPDATE_DOWNLOAD_COUNTS", "0")
    patch.setenv("NO_PROXY", "127.0.0.1,localhost")
    importlib.import_module("matplotlib.font_manager")  # says so where it first lists the fonts
    yield
    patch.undo()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data, or a skip."""
    folder = os.environ.get("CHATDATA_REAL_DATA")
    if not folder:
        pytest.skip("CHATDATA_REAL_DATA is not set")
    return Path(folder)


@pytest.fixture(scope="session")
def starcoder(real_data: Path) -> Path:
    """The folder of the real StarCoder tokenizer."""
    return real_data / "tokenizers" / "starcoder"


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded sample, built."""
    out = tmp_path_factory.mktemp("built") / "sample"
    build_dataset(load_recipe("sample"), out)
    return out
