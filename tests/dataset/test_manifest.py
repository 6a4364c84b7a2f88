"""The manifest: the models write what they read, and refuse what they cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from chatdata.core.document import Part, Verbatim
from chatdata.core.errors import VerifyError
from chatdata.dataset import manifest
from chatdata.dataset.manifest import Listing, Manifest


@pytest.fixture(scope="session")
def described(sample: Path) -> Manifest:
    """The manifest of the sample."""
    return manifest.read(sample)


def test_what_is_read_is_written_to_the_letter(sample: Path, described: Manifest) -> None:
    assert manifest.text(described) == (sample / manifest.FILE).read_text()


def test_values_are_attributes_and_plain_values_of_keys(described: Manifest) -> None:
    counts = described.counts.conversations
    plain = {"read": counts.read, "kept": counts.kept, "dropped": counts.dropped}
    assert described["counts"]["conversations"] == plain
    with pytest.raises(KeyError):
        described["packs"]  # the sample is not packed
    assert described.packs == ()


def test_a_manifest_is_frozen(described: Manifest) -> None:
    with pytest.raises(ValidationError):
        described.counts.messages.kept = 0


def test_keys_of_later_versions_are_kept(described: Manifest) -> None:
    values = described.as_json() | {"mood": {"good": 1}}
    values["splits"]["train"]["smiles"] = 3
    assert manifest.parsed(values).as_json() == values


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda values: values.pop("leakage"), "the key 'leakage' is missing"),
        (lambda values: values["splits"]["test"].pop("tokens"), "'splits.test.tokens' is missing"),
        (lambda values: values["counts"]["records"].update(kept=-1), "'counts.records.kept' is -1"),
        (lambda values: values["files"][0].update(path="../x"), "is not a path inside the folder"),
        (lambda values: values["render"]["certificate"].update(passed=1), "certificate.passed"),
    ],
)
def test_a_wrong_value_is_named(
    described: Manifest, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    values = described.as_json()
    change(values)
    with pytest.raises(VerifyError, match=words):
        manifest.parsed(values)


def test_a_manifest_of_another_format_is_a_listing(described: Manifest) -> None:
    """Its version and files are known, however the rest of it looks."""
    values = described.as_json() | {"format": 7, "counts": "many", "packs": None}
    listing = manifest.parse(json.dumps(values).encode())
    assert isinstance(listing, Listing)
    assert (listing.version, listing.format) == (described.version, 7)
    assert manifest.hashes(listing) == manifest.hashes(described)
    assert isinstance(manifest.parse(manifest.text(described).encode()), Manifest)


def test_parts_write_what_was_given() -> None:
    class Known(Verbatim):
        b: int

    class Whole(Part):
        known: Known
        absent: int = 5

    values = {"known": {"z": 1, "b": 2, "a": {"c": None}}}
    whole = Whole.model_validate(values)
    assert (whole.known.b, whole.absent) == (2, 5)
    assert json.dumps(whole.as_json()) == json.dumps(values)


def test_thousands_of_files_are_read_at_once(described: Manifest) -> None:
    shard = described.files[0].as_json()
    files = [shard | {"path": f"messages/train-{i:05d}-of-20000.parquet"} for i in range(20_000)]
    read = manifest.parsed(described.as_json() | {"files": files})
    assert len(manifest.hashes(read)) == 20_000 + len(described.extras)


def test_a_manifest_that_is_written_again_keeps_the_order_of_its_keys(sample: Path) -> None:
    values = json.loads((sample / manifest.FILE).read_text())
    turned = dict(reversed(values.items()))
    assert list(manifest.parsed(turned).as_json()) == list(turned)
    added = manifest.parsed(turned).model_copy(update={"packs": ()})
    assert list(added.as_json()) == [*turned, "packs"]
