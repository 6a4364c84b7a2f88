"""What a manifest states of template, tokenizer and certificate, compared with new findings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chatdata import __version__
from chatdata.core.hashing import fraction_column, sha256_json
from chatdata.dataset import reader
from chatdata.dataset.manifest import FORMAT, Manifest
from chatdata.render import certificate
from chatdata.render.certificate import sample_share
from chatdata.render.encoding import libraries
from chatdata.render.options import Render
from chatdata.render.parity import ParityCounts
from chatdata.render.tokenizer import Tokenizer


def problems(manifest: Manifest, tokenizer: Tokenizer, options: Render) -> Iterator[str]:
    """Yields what the manifest states otherwise than the tokenizer, its template and the probes.

    `tokenizer` is the saved tokenizer of the folder, with its template.
    """
    entry = manifest.rendering
    stated, loaded = entry.template.as_json(), json.loads(json.dumps(tokenizer.template.facts()))
    if manifest.format == 1:
        loaded = _as_in_format_1(loaded, stated)
    for key in sorted(loaded.keys() | stated.keys()):
        if loaded.get(key) != stated.get(key):
            yield f"the manifest's template differs from the loaded template in '{key}'"
    if entry.certificate.template_sha256 != sha256_json(loaded):
        yield "the certificate is of another template"
    if entry.certificate.tokenizer_sha256 != f"sha256:{entry.tokenizer.sha256}":
        yield "the certificate is of another tokenizer"
    if entry.tokenizer.control_ids != tokenizer.control_ids():
        yield "the control_ids of the manifest are not those of the loaded tokenizer"
    if list(entry.tokenizer.stop_ids) != list(tokenizer.stops()):
        yield "the stop_ids of the manifest are not those of the loaded tokenizer"
    yield from _library_problems(manifest)
    yield from _probe_problems(manifest, certificate.certify(tokenizer, options))


def _as_in_format_1(loaded: dict[str, Any], stated: dict[str, Any]) -> dict[str, Any]:
    """The facts of a template that format 1 states.

    Built-in templates, which have no method, had no place for tools in their Jinja.
    """
    facts = {key: value for key, value in loaded.items() if key in stated}
    return facts if "method" in stated else {**facts, "jinja": stated.get("jinja")}


def _is_of_this_version(manifest: Manifest) -> bool:
    """Whether this version of chatdata made the certificate. Other versions count other things."""
    is_same = manifest.versions.get("chatdata") == __version__
    return is_same and manifest.format == FORMAT


def _probe_problems(manifest: Manifest, probes: ParityCounts) -> Iterator[str]:
    entry = manifest.rendering.certificate
    if not entry.passed or entry.total.faults:
        yield "the certificate is of a build that did not pass"
    if _is_of_this_version(manifest) and entry.probes.as_json() != probes.counts():
        yield "the certificate's probes have other counts when they are rendered again"


def _library_problems(manifest: Manifest) -> Iterator[str]:
    """Yields where the certificate names a tokenizer library that cannot have made the ids.

    All libraries make the same ids, so the rows do not show which library made them.
    """
    engine = manifest.rendering.certificate.engine
    name, audit = engine.name, engine.audit
    if audit is None and name != f"tokenizers {manifest.versions.get('tokenizers')}":
        yield (
            f"the certificate's tokenizer library is '{name}', which is not among the manifest's "
            "versions"
        )
    if audit is not None and not str(name).startswith(f"{libraries.FAST} "):
        yield f"the certificate's tokenizer library is '{name}', which no build uses"
    if audit is not None and not (isinstance(audit, dict) and audit.get("differences") == 0):
        yield "the certificate's tokenizer library differs from tokenizers, or was not audited"


# --------------------------------------------------------------------------------------- sample


@dataclass(slots=True)
class Sample:
    """The rows of the certificate's sample, by id, and their counts when rendered again."""

    ids: frozenset[str]
    counts: ParityCounts = field(default_factory=ParityCounts)


def sample(folder: Path, manifest: Manifest) -> Sample:
    """The rows that the build compared: those of the lowest hashes.

    Their number is the certificate's, within bounds. A build compares a share of the conversations
    that are left when it renders: the manifest does not state their number, which is between those
    kept and those read.
    """
    ids = reader.scan(folder, "tokens").select("id").collect()["id"]
    places = fraction_column(ids, "certificate")
    count = manifest.counts.conversations
    least, most = (
        int((places < sample_share(conversations)).sum())
        for conversations in (count.read, count.kept)
    )
    rows = manifest.rendering.certificate.sample.rows
    return Sample(frozenset(ids.gather(places.arg_sort())[: max(least, min(most, rows))]))


def sample_problems(manifest: Manifest, sample: Sample) -> Iterator[str]:
    """Yields the counts of the certificate's sample that differ from the new counts.

    Nothing where another version of chatdata made the certificate.
    """
    stated = manifest.rendering.certificate.sample.as_json()
    counted = sample.counts.counts()
    for key in sorted(stated.keys() | counted.keys()) if _is_of_this_version(manifest) else ():
        if stated.get(key) != counted.get(key):
            yield (
                f"the certificate's sample says that {key} is {stated.get(key)}, but rendered "
                f"again it is {counted.get(key)}"
            )
