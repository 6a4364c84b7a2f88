"""Fixtures: no network beyond loopback, real data where it is, the sample built once."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import os
import socket
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from chatdata import build_dataset, load_recipe
from chatdata.pipeline import prepare
from chatdata.pipeline.engines import local
from tests.support import forked_ranks
from tests.support.forked_ranks import ForkedRanks
from tests.support.kept_pools import KeptPools
from tests.support.loopback import Hub, serve
from tests.support.loopback.clients import Clients, clients
from tests.support.publishing import ADA, FEWER, READER, SMALL, build
from tests.support.remembered import certifying

if TYPE_CHECKING:
    from tests.support.object_storage import ObjectStorage

settings.register_profile("chatdata", deadline=None)  # how long an example takes is no test
settings.load_profile("chatdata")

_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")


gc.disable()  # until all is imported, which is hardly ever garbage


def pytest_configure(config: pytest.Config) -> None:
    """Clears what keeps the Hub's clients offline. They read it once, when they are imported."""
    for name in _OFFLINE:
        os.environ.pop(name, None)
    config.option.loadscopereorder = False  # several processes take the files in our order


def pytest_collection_finish() -> None:
    """Collects garbage again, but for what was imported."""
    gc.freeze()
    gc.enable()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest --update-golden` writes what is compared with; look at the difference."""
    parser.addoption("--update-golden", action="store_true")


SLOW = {"real_data", "trained"}  # fixtures: what needs them is not in the quick tier


# Those that take longest come first, so that no process is left with one of them at the end.
LONGEST = ("test_trainer", "test_trainer_runs", "test_chat_template", "test_docs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests that need real data or a trained model as slow, and puts long files first."""
    for item in items:
        if SLOW & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: (item.path.stem not in LONGEST, item.path))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Lets every second process collect from the end: what is not compiled yet is compiled once."""
    report = yield
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    if isinstance(collector, pytest.Directory) and int(worker.removeprefix("gw")) % 2:
        report.result.reverse()
    return report


@pytest.fixture(scope="session", autouse=True)
def _loopback_only() -> Iterator[None]:
    """Makes a connection to another machine an error."""
    patch = pytest.MonkeyPatch()
    connect = socket.socket.connect

    def guarded(connection: socket.socket, address: object) -> None:
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            assert isinstance(address, tuple)
            assert address[0] in ("127.0.0.1", "::1", "localhost"), f"network access: {address}"
        connect(connection, address)

    patch.setattr(socket.socket, "connect", guarded)
    yield
    patch.undo()


@pytest.fixture(scope="session", autouse=True)
def _no_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the Hub's caches out of the home directory, and its client off the network."""
    patch = pytest.MonkeyPatch()
    patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
    patch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    patch.setenv("HF_HUB_DISABLE_XET", "1")
    patch.setenv("HF_UPDATE_DOWNLOAD_COUNTS", "0")
    patch.setenv("CHATDATA_CACHE", "off")
    patch.setenv("NO_PROXY", "127.0.0.1,localhost")
    patch.setenv("NO_GCE_CHECK", "true")  # Google's clients ask a server of Google's machines
    importlib.import_module("matplotlib.font_manager")  # says so where it first lists the fonts
    yield
    patch.undo()


@pytest.fixture(scope="session", autouse=True)
def _disks_do_not_wait() -> Iterator[None]:
    """Lets builds end before a disk has written them; test_files shows that they do wait."""
    patch = pytest.MonkeyPatch()
    patch.setattr(os, "fsync", lambda handle: None)
    yield
    patch.undo()


@pytest.fixture(scope="session", autouse=True)
def _certified_once() -> Iterator[None]:
    """Lets builds of the same tokenizer, template and options prove their probes once."""
    patch = pytest.MonkeyPatch()
    patch.setattr(prepare, "certificate", certifying())
    yield
    patch.undo()


@pytest.fixture(scope="session", autouse=True)
def _workers_started_once() -> Iterator[None]:
    """Lets builds by several workers use those of the build before."""
    patch, pools = pytest.MonkeyPatch(), KeptPools()
    patch.setattr(local, "WorkerPool", pools)
    yield
    pools.end()
    patch.undo()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hub, Clients]]:
    """A Hub on loopback, and real clients of it, for all tests."""
    folder = tmp_path_factory.mktemp("served")
    with (
        serve(folder / "hub") as hub,
        clients(hub.endpoint, folder / "clients", "datasets") as hub_clients,
    ):
        hub.store.add_user("ada", token=ADA)
        hub.store.add_user("eve", token=READER, role="read")
        yield hub, hub_clients


@pytest.fixture
def hub(served: tuple[Hub, Clients]) -> Iterator[Hub]:
    """The Hub, where nothing goes wrong at first."""
    server, _ = served
    server.faults.clear()
    server.log.clear()
    options = replace(server.options)
    yield server
    server.faults.clear()
    vars(server.options).update(vars(options))


@pytest.fixture
def client(served: tuple[Hub, Clients], hub: Hub) -> Clients:
    """The clients of the Hub."""
    return served[1]


@pytest.fixture(scope="session")
def object_storages() -> Iterator[Callable[[str], ObjectStorage]]:
    """Object storage on loopback by its protocol. It starts where a test first asks for it."""
    with contextlib.ExitStack() as servers:

        @functools.cache
        def serve_storage(protocol: str) -> ObjectStorage:
            from tests.support import object_storage  # a second of imports

            serving = {"s3": object_storage.serve, "gs": object_storage.serve_google}
            return servers.enter_context(serving[protocol]())

        yield serve_storage


@pytest.fixture(scope="module", params=["s3", pytest.param("gs", marks=pytest.mark.slow)])
def object_storage(
    request: pytest.FixtureRequest, object_storages: Callable[[str], ObjectStorage]
) -> ObjectStorage:
    """Storage of each kind in turn."""
    return object_storages(request.param)


@pytest.fixture
def any_storage(
    object_storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ObjectStorage]:
    """Storage where nothing goes wrong at first, to which its URLs lead."""
    with object_storage.reached(monkeypatch):
        yield object_storage


@pytest.fixture
def s3_storage(
    object_storages: Callable[[str], ObjectStorage], monkeypatch: pytest.MonkeyPatch
) -> Iterator[ObjectStorage]:
    """The same, of S3 alone."""
    with object_storages("s3").reached(monkeypatch) as storage:
        yield storage


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


@pytest.fixture(scope="session")
def all_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of messages of both sources of the sample."""
    return build(tmp_path_factory.mktemp("built") / "all", *SMALL)


@pytest.fixture(scope="session")
def few_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rows of one of them."""
    return build(tmp_path_factory.mktemp("built") / "few", *SMALL, *FEWER)


@pytest.fixture(scope="session")
def two_ranks() -> Iterator[ForkedRanks]:
    """Two ranks of the trainer for each launch, without a launcher."""
    pytest.importorskip("deepspeed")
    with forked_ranks.start() as started:
        yield started
