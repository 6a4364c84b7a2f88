"""What the cache keeps of less than a part: inputs that are edited at random give the bytes of a
build without a cache, and what was not edited is neither made nor proved again."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from chatdata import render_dataset
from chatdata.core import cache_folder, schema
from chatdata.pipeline import build as building
from chatdata.pipeline import layers
from chatdata.render import certificate
from chatdata.render.encoding import hard_strings
from chatdata.render.encoding.libraries import ReferenceEncoder
from chatdata.verify import rebuild
from tests.support.builds import SHAREGPT_ROLES, files, make
from tests.support.conversations import random_conversation, random_tree
from tests.support.trusted_tokenizer import starcoder_like

RECIPE = """
name: both
version: 1.0.0
source:
  talks: {format: auto, files: [talks.json]}
  trees: {format: oasst, files: [trees.jsonl]}
clean: [white_space]
redact: {kinds: [email]}
threads: {join: pieces, end: assistant, pairs: best_worst}
drop: [deleted, {too_few_turns: {below: 2}}, duplicate, {near_duplicate: {threshold: 0.6}}]
split: {test_percent: 30}
max_dropped: 1.0
"""
RENDER = "render: {tokenizer: TOKENIZER, template: chatml, max_tokens: 900, overflow: cut}\n"
FILES = {"talks": "talks.json", "trees": "trees.jsonl"}
REPLY = {"from": "gpt", "value": "Yes."}
Records = list[Any]


def talk(seed: int) -> dict[str, Any]:
    """A conversation; ids come again, with the same words or others, and some are pieces."""
    rows = [
        {"from": SHAREGPT_ROLES[role], "value": text} for role, text in random_conversation(seed)
    ]
    return {"id": f"c{seed % 17}_{seed % 3}", "conversations": rows}


class Place:
    """Two files of records that are edited, and builds of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recipe = RECIPE
        self.talks: Records = [talk(seed) for seed in range(20)]
        self.trees: Records = [row for seed in range(6) for row in random_tree(seed)]
        self.trees += self.trees[:2]  # ids that come again
        self.kept = (0, 0)

    def build(self, name: str = "out", **options: Any) -> dict[str, bytes]:
        """The files of a build."""
        self.kept = (0, 0)
        (self.folder / "talks.json").write_text(json.dumps(self.talks))
        (self.folder / "trees.jsonl").write_text("\n".join(map(json.dumps, self.trees)))
        return files(make(self.folder, self.recipe, None, name, reused=self._note, **options))

    def _note(self, stage: str, kept: int, parts: int) -> None:
        if stage == "first pass":
            self.kept = (kept, parts)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv(cache_folder.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(building, "parts_of", lambda inputs: 2)
    return Place(tmp_path)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return starcoder_like(tmp_path_factory.mktemp("tokenizer") / "starcoder-like")


@pytest.fixture
def rendering(place: Place, tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place that renders, with a small sample, and a quick examination of the fast library."""
    strings = hard_strings.strings
    monkeypatch.setattr(hard_strings, "strings", lambda text: strings(text)[::50])
    monkeypatch.setattr(certificate, "SAMPLE", 8)
    place.recipe += RENDER.replace("TOKENIZER", str(tokenizer))
    return place


def put(records: Records, draw: random.Random) -> None:
    records.insert(draw.randrange(len(records)), talk(draw.randrange(100, 140)))


def take_out(records: Records, draw: random.Random) -> None:
    del records[draw.randrange(len(records))]


def change(records: Records, draw: random.Random) -> None:
    records[draw.randrange(len(records))] = talk(draw.randrange(60))


def move(records: Records, draw: random.Random) -> None:
    records.insert(0, records.pop())


def again(records: Records, draw: random.Random) -> None:
    records.append(draw.choice(records))


def odd(records: Records, draw: random.Random) -> None:
    records.insert(draw.randrange(len(records)), {"conversations": []})


EDITS: list[Callable[[Records, random.Random], None]] = [put, take_out, change, move, again, odd]


@pytest.mark.slow
def test_inputs_that_are_edited_give_the_bytes_of_a_build_without_a_cache(
    rendering: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "_MOST", 3)
    draw, place = random.Random(5), rendering
    place.build()
    for number in range(4):
        for edit in draw.sample(EDITS, 2):
            edit(place.talks, draw)
        if number % 2:
            draw.choice([take_out, move, again])(place.trees, draw)
        assert place.build() == place.build("plain", cache=False), f"edit {number}"


@pytest.mark.slow
def test_what_was_not_edited_is_taken_from_the_cache(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    whole = layers.first_pass.make

    def counted(context: Any, messages: pl.DataFrame, *more: Any) -> Any:
        made.append(messages["group"].n_unique())
        return whole(context, messages, *more)

    monkeypatch.setattr(layers.first_pass, "make", counted)
    place.build()
    assert sum(made) > 15
    made.clear()
    place.talks[3:3] = [{**talk(200), "id": "new"}]
    first = place.build()
    assert made == [1], "of all groups, the one that is new"
    del place.talks[3]
    made.clear()
    place.build()
    assert (made, place.kept) == ([], (2, 2))
    place.talks[3:3] = [{**talk(200), "id": "new"}]
    assert place.build() == first
    assert made == []
    place.talks[6] = {**talk(201), "id": "another"}
    assert place.build() == place.build("plain", cache=False)
    assert 1 <= sum(made[:3]) <= 5, "words of before, to take them out, and those of now"


@pytest.mark.slow
def test_figures_of_pieces_do_not_tell_whether_a_cache_was_used(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "parts_of", lambda inputs: 1)
    place.talks = [{"prompt": f"Which, {n}?", "chosen": "A.", "rejected": "B."} for n in range(3)]
    place.build()
    del place.talks[0]
    assert place.build() == place.build("plain", cache=False)


@pytest.fixture
def proofs(monkeypatch: pytest.MonkeyPatch) -> Proofs:
    return Proofs(monkeypatch)


class Proofs:
    """What is proved: how many rows of the sample, and which texts are given to `tokenizers`."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.rows, self.texts = 0, list[str]()
        self._compare, self._encode = certificate.compare, ReferenceEncoder.encode
        patch.setattr(certificate, "compare", self._compared)
        patch.setattr(ReferenceEncoder, "encode", lambda it, batch: self._encoded(it, batch))

    def _compared(self, chosen: Any, *more: Any) -> Any:
        self.rows += len(chosen)
        return self._compare(chosen, *more)

    def _encoded(self, encoder: ReferenceEncoder, batch: Any) -> Any:
        self.texts.extend(batch)
        return self._encode(encoder, batch)

    def take(self) -> tuple[int, set[str]]:
        """How many rows there were since the last call, and which texts, but for headers."""
        rows, texts = self.rows, {t for t in self.texts if t.isascii() and len(t) > 12}
        self.rows, self.texts = 0, []
        return rows, texts


@pytest.mark.slow
def test_what_was_proved_is_not_proved_again(rendering: Place, proofs: Proofs) -> None:
    """The rows of the sample in a part with a new record, and the texts that were compared."""
    rendering.build()
    rows, known = proofs.take()
    assert rows > 8 < len(known)
    rendering.talks[3:3] = [{**talk(201), "id": "new"}]
    rendering.build()
    rows, texts = proofs.take()
    assert rows == 0
    assert not known & texts, "hard strings, and texts and excerpts of before"


@pytest.mark.slow
def test_a_rendering_proves_nothing_again_and_has_the_same_bytes(
    rendering: Place, proofs: Proofs, tokenizer: Path
) -> None:
    rendering.build()
    proofs.take()

    def rendered(name: str, *settings: str, cache: bool = True) -> dict[str, bytes]:
        out = rendering.folder / name
        given: dict[str, Any] = {"settings": settings, "cache": cache}
        render_dataset(rendering.folder / "out", out, tokenizer=str(tokenizer), **given)
        return files(out)

    first = rendered("first")
    rows, known = proofs.take()
    assert rendered("again") == first
    assert proofs.take() == (0, set())
    assert rendered("plain", cache=False) == first
    assert proofs.take()[0] == rows > 0, "no cache: all is proved"
    short = rendered("short", "render.max_tokens=90", "render.overflow=drop")
    assert not known & proofs.take()[1], "texts of another length are compared with none"
    plain = rendered("long", "render.max_tokens=90", "render.overflow=drop", cache=False)
    assert short == plain


@pytest.mark.slow
def test_a_fault_that_the_cache_has_too_is_found_by_building_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = layers.first_pass.make

    def wrong(*given: Any) -> Any:
        made = whole(*given)
        loud = made.tables["messages"].with_columns(pl.col("content").str.to_uppercase())
        return replace(made, tables={**made.tables, "messages": loud})

    with monkeypatch.context() as broken:
        broken.setattr(layers.first_pass, "make", wrong)
        built = place.build()
    assert place.build() == built, "the fault is in the cache"
    inputs = [f"{name}={place.folder / file}" for name, file in FILES.items()]
    assert rebuild.problems(place.folder / "out", inputs=inputs)
    place.build(cache=False)
    assert rebuild.problems(place.folder / "out", inputs=inputs) == []


@pytest.mark.slow
def test_the_order_of_figures_does_not_tell_whether_a_cache_was_used(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.recipe = RECIPE.replace("[white_space]", "[entities, white_space]")
    place.recipe = place.recipe.replace("[email]", "[email, phone]")
    monkeypatch.setattr(building, "parts_of", lambda inputs: 1)
    texts = ["+49 30 901820", "a&amp;b", "ann@example.com", *(f"so  {n}" for n in range(6))]
    place.talks = [
        {"id": f"x{n}", "conversations": [{"from": "human", "value": text}, REPLY]}
        for n, text in enumerate(texts)
    ]
    place.build()
    del place.talks[1]
    assert place.build() == place.build("plain", cache=False), "entities have nothing to do"


def test_a_part_without_messages_has_a_kind() -> None:
    (table,) = schema.by_kind(schema.empty(schema.EITHER))
    assert table.schema == schema.empty(schema.MESSAGES).schema
