"""Three Ray nodes that share no folder: the bytes of one local worker, whatever dies."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatdata import build_dataset
from chatdata.dataset import shards
from chatdata.pipeline import prepare
from chatdata.sources import cutting
from tests.support.builds import files
from tests.support.ray_nodes import ROOT, Nodes

pytestmark = pytest.mark.slow
BUILD = """
import sys
from chatdata import build_dataset
from chatdata.dataset import shards
from chatdata.pipeline import partitions, prepare
from chatdata.sources import cutting

prepare.PART_BYTES, cutting.SPLIT_BYTES, partitions.ONE_STEP = 160_000, 80_000, 2
shards.SHARD_BYTES = 300_000
recipe, out = sys.argv[1:]
say = lambda *about: print(*about, flush=True)
build_dataset(recipe, out, engine="ray", workers=1, progress=say, reused=say)
"""
RECIPE = """
name: t
version: 1.0.0
source: {mine: {format: auto, files: [talks.jsonl]}}
drop: [duplicate, near_duplicate]
split: {test_percent: 20}
render: {tokenizer: TOKENIZER, template: chatml, max_tokens: 3000, overflow: cut}
max_dropped: 1.0
"""
PEEK = """
import sys
from chatdata.pipeline import engines
from tests.support.engine_tasks import check, peek

with engines.start("ray", 1) as running:
    check(running)
    print("checked", flush=True)
    print(list(running.map(peek, sys.argv[1:])))
"""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    pytest.importorskip("ray")
    with Nodes.start(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture(scope="module")
def recipe(nodes: Nodes, real_data: Path, starcoder: Path) -> Path:
    """Real conversations and a real tokenizer, where no task may look."""
    (source,) = (real_data / "sharegpt-en-1k").glob("*.json.gz")
    talks = json.loads(gzip.decompress(source.read_bytes()))[:160]
    lines = [json.dumps(talk) + "\n" for talk in talks]
    (nodes.hidden / "talks.jsonl").write_text("".join(lines))
    tokenizer = nodes.hidden / "tokenizer"
    tokenizer.mkdir()
    for path in starcoder.iterdir():
        (tokenizer / path.name).write_bytes(path.read_bytes())
    made = nodes.hidden / "r.yaml"
    made.write_text(RECIPE.replace("TOKENIZER", str(tokenizer)))
    return made


@pytest.fixture(scope="module")
def expected(nodes: Nodes, recipe: Path) -> dict[str, bytes]:
    """The files of one local worker."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "PART_BYTES", 160_000)
        patch.setattr(cutting, "SPLIT_BYTES", 80_000)
        patch.setattr(shards, "SHARD_BYTES", 300_000)
        build_dataset(recipe, nodes.hidden / "local", workers=1)
    made = files(nodes.hidden / "local")
    assert sum(name.startswith("tokens/train-") for name in made) > 3
    return made


def started(nodes: Nodes, recipe: Path, out: str) -> subprocess.Popen[str]:
    """A build in a process of its own, which says how far it is."""
    variables = {
        "RAY_ADDRESS": nodes.cluster.address,
        "PYTHONPATH": str(ROOT),
        "CHATDATA_CACHE": str(nodes.folder / "cache") if out == "killed" else "off",
    }
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, str(recipe), str(nodes.hidden / out)],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for(build: subprocess.Popen[str], words: str) -> None:
    """Waits until a build says these words."""
    assert build.stdout is not None
    assert any(words in line for line in build.stdout), f"the build never says {words}"


def test_results_are_in_order_and_a_task_that_looks_elsewhere_fails(
    nodes: Nodes, recipe: Path
) -> None:
    variables = {"RAY_ADDRESS": nodes.cluster.address, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PEEK, str(recipe)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "checked\n", done.stderr
    assert f"a task looked at {recipe}" in done.stderr


def test_a_lost_worker_and_a_lost_node_change_nothing(
    nodes: Nodes, recipe: Path, expected: dict[str, bytes]
) -> None:
    with started(nodes, recipe, "lost") as build:
        wait_for(build, "dropping, threading 1 ")
        nodes.kill_worker()
        wait_for(build, "splitting, rendering 1 ")
        nodes.replace_one()  # it has rows that wait to be written
        printed = build.communicate()[0]
    assert build.returncode == 0
    assert "splitting, rendering 8 8" in printed
    assert files(nodes.hidden / "lost") == expected


def test_a_killed_build_goes_on_from_the_cache(
    nodes: Nodes, recipe: Path, expected: dict[str, bytes]
) -> None:
    with started(nodes, recipe, "killed") as build:
        wait_for(build, "splitting, rendering 2 ")
        build.kill()
    killed = nodes.left()
    with started(nodes, recipe, "killed") as build:
        printed = build.communicate()[0]
    assert build.returncode == 0
    assert "first pass 8 8" in printed
    assert "second pass" in printed
    assert files(nodes.hidden / "killed") == expected
    assert killed
    assert set(nodes.left()) <= set(killed)  # a build that ends leaves nothing on any node
