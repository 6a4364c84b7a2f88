"""What a manifest has to hold, so that what reads it need not ask.

A manifest may have been edited by hand, cut off, or made to name files elsewhere.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from chatdata.core import config
from chatdata.core.errors import ConfigError, VerifyError
from chatdata.core.paths import is_inside
from chatdata.dataset.manifest import FILE, Manifest


def _inside(path: str) -> str:
    """Refuses a path that could lead out of the folder."""
    if not is_inside(path):
        raise ValueError("is not a path inside the folder")
    return path


_Path = Annotated[str, AfterValidator(_inside)]
_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Hash = Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]
_Number = Annotated[int, Field(ge=0, strict=True)]


class _File(BaseModel):
    path: _Path
    sha256: _Sha256


class _Shard(_File):
    rows: _Number


class _Pack(_File):
    split: str
    fill: float
    max_tokens: _Number
    bins: _Number
    rows: _Number
    tokens: _Number


class _Source(BaseModel):
    name: str
    path: str
    sha256: _Sha256
    bytes: _Number


class _Count(BaseModel):
    read: _Number
    kept: _Number
    dropped: dict[str, _Number]


class _Split(BaseModel):
    rows: _Number
    messages: _Number
    bytes: _Number


class _RenderedSplit(_Split):
    token_rows: _Number
    tokens: _Number
    trained_tokens: _Number


class _Findings(BaseModel):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, _Number]
    compared: _Number
    differences: _Number
    quoting: _Number
    forged: _Number
    answers: _Number
    stops_trained: _Number
    headers_trained: _Number
    prompts: _Number


class _Certificate(BaseModel):
    passed: bool
    probes: _Findings
    sample: _Findings
    engine: dict[str, Any]


class _Template(BaseModel):
    name: str
    stop: str


class _Tokenizer(BaseModel):
    name: str
    sha256: _Sha256


class _Render(BaseModel):
    template: _Template
    tokenizer: _Tokenizer
    train_on: str
    max_tokens: _Number | None
    overflow: str
    token_rows: _Number
    tokens: _Number
    trained_tokens: _Number
    certificate: _Certificate


class _Length(BaseModel):
    min: _Number
    median: _Number
    p90: _Number
    p99: _Number
    max: _Number
    width: _Number
    steps: list[_Number]


class _Leakage(BaseModel):
    groups_in_both: _Number


class _Splits(BaseModel):
    train: _Split
    test: _Split


class _Counts(BaseModel):
    records: _Count
    messages: _Count
    conversations: _Count


class _Options(BaseModel):
    repo: str | None
    revision: str | None
    files: list[str]
    name: str | None
    license: str | None


class _Threads(BaseModel):
    train_once: bool


class _Percent(BaseModel):
    test_percent: float


class _Publish(BaseModel):
    repo: str | None


class _Recipe(BaseModel):
    source: dict[str, _Options]
    threads: _Threads
    drop: list[dict[str, dict[str, Any]]]
    split: _Percent | None
    publish: _Publish | None


class _Cleaned(BaseModel):
    messages: _Number
    characters: int


class _Example(BaseModel):
    message: str
    text: str


class _Disagreement(BaseModel):
    declared: str
    detected: str
    messages: _Number
    examples: list[_Example]


class _Clusters(BaseModel):
    threshold: float
    permutations: _Number
    clusters: _Number
    largest: _Number
    dropped: _Number


class _Contamination(BaseModel):
    set: str
    sha256: str
    items: _Number
    items_found: _Number
    conversations: _Number


class _Secret(BaseModel):
    messages: _Number
    found: _Number
    masked: _Number


class _Share(BaseModel):
    source: str
    rows: _Number
    share: float
    weight: float | None
    cap: int | None
    license: str | None


class _Manifest(BaseModel):
    name: str
    version: str
    about: str
    license: str | None
    content_hash: _Hash
    recipe_hash: _Hash
    recipe: _Recipe
    sources: list[_Source]
    counts: _Counts
    splits: _Splits
    languages: dict[str, _Number]
    leakage: _Leakage
    lengths: dict[str, _Length]
    files: list[_Shard]
    extras: list[_File]
    packs: list[_Pack] = []
    versions: dict[str, str]
    render: _Render | None
    cleaned: dict[str, _Cleaned] | None = None
    language_disagreements: list[_Disagreement] | None = None
    near_duplicates: dict[str, _Clusters] | None = None
    contamination: list[_Contamination] | None = None
    secrets: dict[str, _Secret] | None = None
    shares: list[_Share] | None = None


class _Rendered(BaseModel):
    splits: dict[str, _RenderedSplit]


def check(manifest: Manifest) -> None:
    """Raises VerifyError for the first key of a manifest that is not what it has to be."""
    try:
        config.parse(_Manifest, manifest, FILE)
        if manifest["render"]:
            config.parse(_Rendered, manifest, FILE)
    except ConfigError as error:
        raise VerifyError(f"{error} Build the folder again with this chatdata.") from None
