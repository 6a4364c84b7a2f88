"""Builds that take from the cache what has not changed: the same bytes as without a cache."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chatdata.core import cache_folder
from chatdata.pipeline import cache, prepare, runner, stages
from chatdata.pipeline.cache import Cache, Kept
from chatdata.pipeline.context import BuildContext
from chatdata.pipeline.recipe import Recipe
from chatdata.pipeline.stage import Done, Stage, run
from tests.support.builds import SHAREGPT_ROLES, files, make
from tests.support.conversations import random_conversation, random_tree

pytestmark = pytest.mark.slow

PARTS = 2  # of the inputs of `Place`
RECIPE = """
name: both
version: 1.0.0
about: Trees and lists
source:
  talks: {format: sharegpt, files: [talks.json]}
  trees: {format: oasst, files: [trees.jsonl]}
threads: {end: assistant}
drop: [deleted, {wrong_language: {allow: [en], decide: declared, on_removed: cut}}, duplicate]
split: {test_percent: 30}
render: {tokenizer: bytes, template: chatml, max_tokens: 900, overflow: cut}
max_dropped: 1.0
"""
OF_NO_STAGE = ["name=other", "version=2.0.0", "about=other", "pack={max_tokens: 1000}"]
OF_NO_STAGE += ["publish={license: mit}", "max_dropped=0.9999"]
# Settings for each key of a recipe, and for options of a source, that change a build.
CHANGES: dict[str, list[str]] = {
    "name version about pack publish max_dropped": OF_NO_STAGE,
    "source": ["source.talks.name=chats"],
    "clean": ["clean=[white_space]"],
    "redact": ["redact={kinds: [email, phone]}"],
    "threads": ["threads.policy=best_rank"],
    "drop": ["drop=[deleted, {too_many_characters: {above: 2000}}]"],
    "mix": ["mix={by: tokens}", "source.talks.cap=3000"],
    "forget": ["forget=[ids.txt]"],
    "keep": ["keep=[KEPT]"],
    "split": ["split.test_percent=60"],
    "render": ["render.template=starchat"],
    "source.weight": ["source.talks.weight=2", "source.trees.weight=1"],
    "threads.pairs": ["threads.pairs=best_worst", "drop=[deleted]"],
    "near": ["drop=[{near_duplicate: {threshold: 0.5}}]"],
}


def talks(number: int) -> list[dict[str, Any]]:
    made = []
    for seed in range(number):
        turns = random_conversation(seed % 60)
        rows = [{"from": SHAREGPT_ROLES[role], "value": text} for role, text in turns]
        made.append({"id": f"c{seed}_0", "conversations": rows})
    return made


def write(folder: Path, conversations: list[dict[str, Any]]) -> None:
    (folder / "talks.json").write_text(json.dumps(conversations))


class Place:
    """Two sources, a cache, and builds of a recipe that read and use them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write(folder, talks(20))
        rows = [row for seed in range(10) for row in random_tree(seed)]
        (folder / "trees.jsonl").write_text("\n".join(map(json.dumps, rows)))
        (folder / "ids.txt").write_text("sharegpt/c7_0\n")
        self.reused: dict[str, tuple[int, int]] = {}

    def build(self, *settings: str, name: str = "out", **options: Any) -> dict[str, bytes]:
        """The files of a build."""
        self.reused = {}
        return files(
            make(self.folder, RECIPE, None, name, *settings, reused=self._reuse, **options)
        )

    def _reuse(self, stage: str, kept: int, parts: int) -> None:
        self.reused[stage] = (kept, parts)


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A place whose recipe was built with the cache."""
    folder = tmp_path_factory.mktemp("warm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache_folder.VARIABLE, str(folder / "cache"))
        patch.setattr(prepare, "PART_BYTES", 72_000)
        place = Place(folder)
        place.build()
        assert place.reused == {}
        yield place


def opened() -> Cache:
    made = cache.open_cache()
    assert made is not None
    return made


def test_every_key_of_a_recipe_is_changed() -> None:
    assert set(Recipe.model_fields) <= set(" ".join(CHANGES).split())


@pytest.mark.slow
@pytest.mark.parametrize("key", CHANGES)
def test_a_change_of_the_recipe_is_seen(warm: Place, key: str) -> None:
    settings = [setting.replace("KEPT", "talks/c3_0") for setting in CHANGES[key]]
    with_cache = warm.build(*settings)
    without = warm.build(*settings, cache=False)
    assert with_cache == without


@pytest.mark.parametrize(
    ("settings", "first", "second"),
    [
        (OF_NO_STAGE, True, True),
        (["render.template=chatml", "render.max_tokens=800"], True, False),
        (["split.test_percent=50"], True, False),
        (["source.talks.license=mit"], True, True),
        (["redact={kinds: [email]}"], False, None),
    ],
)
def test_what_has_not_changed_is_taken(
    warm: Place, settings: list[str], first: bool, second: bool | None
) -> None:
    warm.build(*settings, name="taken")
    assert warm.reused.get("first pass", (0, PARTS)) == (PARTS if first else 0, PARTS)
    if second is not None:
        assert warm.reused.get("second pass", (0, PARTS)) == (PARTS if second else 0, PARTS)


def test_new_records_change_the_parts_that_they_fall_into(warm: Place, tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.build()
    write(tmp_path, talks(21))
    appended = place.build()
    assert place.reused["first pass"] == (PARTS - 1, PARTS)
    assert place.reused["second pass"] == (PARTS - 1, PARTS)
    assert appended == place.build(cache=False)


def test_a_damaged_entry_is_made_again(warm: Place) -> None:
    whole = warm.build()
    for entry in opened().entries()[::2]:
        data = bytearray(entry.path.read_bytes())
        data[-1] ^= 1
        entry.path.write_bytes(data)
    assert warm.build() == whole
    assert warm.build() == whole
    assert warm.reused["first pass"] == (PARTS, PARTS)


def test_a_build_that_ends_early_goes_on(
    tmp_path: Path, warm: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was finished is not made again."""
    monkeypatch.setenv(cache_folder.VARIABLE, str(tmp_path / "cache"))
    whole, save = warm.build(cache=False), Cache.save
    saved: list[str] = []
    keys: list[str] = []  # of what the first pass made

    def end_after(limit: int) -> None:
        def limited(self: Cache, stage: str, key: str, kept: Kept) -> None:
            if len(saved) == limit:
                raise KeyboardInterrupt
            saved.append(stage)
            keys.extend([key] * (stage == "first-pass"))
            save(self, stage, key, kept)

        monkeypatch.setattr(Cache, "save", limited)

    for limit in (1, 5, 11):
        end_after(limit)
        with pytest.raises(KeyboardInterrupt):
            warm.build()
    monkeypatch.setattr(Cache, "save", save)
    assert warm.build() == whole
    assert len(keys) == len(set(keys)) > PARTS, "a part has two sources"
    assert warm.reused["first pass"] == (PARTS, PARTS)
    assert warm.reused["second pass"] == (saved.count("second-pass"), PARTS)


@pytest.mark.slow
def test_workers_share_the_cache(warm: Place) -> None:
    whole = warm.build("split.test_percent=10", workers=2)
    assert warm.build("split.test_percent=10") == whole
    assert warm.reused["second pass"] == (PARTS, PARTS)


def isolated(stage: Stage[Any, Any], context: BuildContext, store: object, task: Any) -> Done[Any]:
    """What a stage makes of a task in a folder that holds the files that it reads and no others,
    as on another machine."""
    home = context.files.folder
    away = home.parent / "away"
    there_files = replace(context.files, folder=away)
    away.mkdir()
    reads = stage.reads(context, task)
    for path in (*reads.files, *reads.batches):
        if path.is_relative_to(home) and path.exists():
            copy = shutil.copytree if path.is_dir() else shutil.copy
            copy(path, away / path.relative_to(home))
    before = {path for path in away.rglob("*") if path.is_file()}
    done = run(stage, replace(context, files=there_files), None, task)
    made = {path for path in away.rglob("*") if path.is_file()} - before
    declared = {away / path.relative_to(home) for path in stage.writes(context, task)}
    assert made <= declared, stage.name
    for path in made:
        shutil.copy(path, home / path.name)
    shutil.rmtree(away)
    return done


@pytest.mark.parametrize(
    "settings",
    [
        [*CHANGES["threads.pairs"], *CHANGES["forget"], "keep=[talks/c3_0]"],
        [*CHANGES["mix"], *CHANGES["near"]],
    ],
)
def test_stages_say_all_that_they_read_and_write(
    warm: Place, settings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = warm.build(*settings, cache=False)
    monkeypatch.setattr(runner, "stage_run", isolated)
    assert warm.build(*settings, cache=False) == expected


def test_a_stage_sees_nothing_but_what_it_declares(warm: Place) -> None:
    """A key that a stage does not declare has its default, whatever the recipe says."""
    seen: list[BuildContext] = []

    def look(stage: Stage[Any, Any], context: BuildContext, store: object, task: Any) -> Done[Any]:
        seen.append(context)
        assert isinstance(context.recipe, Recipe)
        return run(stage, context, None, task)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "stage_run", look)
        warm.build(*CHANGES["mix"], cache=False)
    first = next(c for c in seen if c.recipe.drop and c.recipe.clean == [])
    assert (first.recipe.name, first.recipe.split, first.recipe.render) == ("any", None, None)
    assert first.tokenizer is None
    assert [options.files for options in first.recipe.source.values()] == [[], []]
    assert {stage.name for stage in stages.ALL} >= {"first pass", "second pass"}
