"""The tokenizer that transformers makes of a folder, where `tokenizer.json` is not all of it.

`AutoTokenizer` chooses a class by tokenizer_config.json and config.json, and some classes put parts
of their making in place of those in tokenizer.json: the ids of a text then differ, and nothing
says so. A model is trained and served with what `AutoTokenizer` makes, so rows are too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tokenizers

from chatdata.core.errors import RenderError
from chatdata.render.probe_texts import PROBE_TEXTS
from chatdata.render.tokenizer import (
    SHA256_FILE,
    Source,
    added_tokens,
    has_vocabulary,
    no_tokenizer,
    parse,
    read,
    read_config,
)

INSTALL = "pip install 'transformers>=5.0,<6'"
# Classes that take a tokenizer.json as it is.
_PLAIN = ("", "PreTrainedTokenizerFast", "TokenizersBackend")
# Keys of tokenizer_config.json for which transformers changes what the file says.
_CHANGING = ("auto_map", "fast_tokenizer_files", "fix_mistral_regex", "split_special_tokens")
_FLAGS = ("lstrip", "rstrip", "single_word", "normalized", "special")
# Parts of a tokenizer.json that say nothing about the ids of a text.
_NO_MATTER = ("version", "truncation", "padding", "post_processor", "decoder")


def prepare(folder: Path, name: str, work: Path) -> Path:
    """The folder, where transformers makes the ids that its tokenizer.json says; else `work`.

    `work` is a new folder with what transformers makes. Raises RenderError where transformers is
    needed and not installed, cannot load the tokenizer, or makes other ids than `tokenizers` does.
    """
    if not _needs_transformers(folder, name):
        return folder
    made = load(folder, name)
    source = source_of(made, folder, name)
    has_file = (folder / "tokenizer.json").is_file()
    if has_file and _has_same_ids(read(folder, name).text, source.text, name):
        return folder
    work.mkdir()
    write(source, work)
    return work


def load(folder: Path, name: str) -> Any:
    """What `AutoTokenizer.from_pretrained` makes of a folder that holds the files of `name`.

    Code of the folder is never run, and a tekken.json is read as transformers reads it without
    mistral-common. Raises RenderError where transformers is not installed or cannot load it.
    """
    if not has_vocabulary(folder):
        raise no_tokenizer(folder)
    try:
        auto_tokenizer = _auto_tokenizer()
    except ImportError:
        raise RenderError(_not_installed(folder, name)) from None
    options: dict[str, Any] = {"trust_remote_code": False, "mistral_format": False}
    if config := _config_of(folder, name):
        options["config"] = config
    try:
        return auto_tokenizer.from_pretrained(folder, local_files_only=True, **options)
    except Exception as error:  # whatever transformers raises, the folder cannot be used
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise RenderError(
            f"transformers cannot load tokenizer '{name}': {reason} Save it with transformers' "
            "save_pretrained, and name that folder."
        ) from None


def source_of(made: Any, folder: Path, name: str) -> Source:
    """The tokenizer that transformers has made of a folder, as a tokenizer.json.

    Its hash is that of the folder's tokenizer.json, if there is one. Raises RenderError where it
    has no such form, and where `tokenizers` makes other ids of it than transformers does.
    """
    backend = getattr(made, "backend_tokenizer", None)
    if not isinstance(backend, tokenizers.Tokenizer):
        raise RenderError(
            f"transformers makes a {type(made).__name__} of tokenizer '{name}', which has no "
            "tokenizer.json; choose a model with a fast tokenizer."
        )
    text = backend.to_str()
    _compare(parse(text, name), made, name)
    if (folder / "tokenizer.json").is_file():
        source = read(folder, name)
        return Source(text, source.config, source.sha256)
    tokens = {k: v for k, v in made.special_tokens_map.items() if isinstance(v, str)}
    return Source(text, {**read_config(folder), **tokens})


def write(source: Source, folder: Path) -> None:
    """Writes a tokenizer into a folder, from which `read` reads it."""
    (folder / "tokenizer.json").write_text(source.text, encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(source.config), encoding="utf-8")
    (folder / SHA256_FILE).write_text(source.sha256, encoding="utf-8")


# ------------------------------------------------------------------- whether transformers is needed


def _needs_transformers(folder: Path, name: str) -> bool:
    """Whether transformers may make other ids of a folder than its tokenizer.json says."""
    if (folder / "config.json").is_file() or not (folder / "tokenizer.json").is_file():
        return True
    text, config, _ = read(folder, name)
    if (config.get("tokenizer_class") or "") not in _PLAIN:
        return True
    if any(config.get(key) for key in _CHANGING):
        return True
    try:
        return not _adds_nothing(config, added_tokens(text, name), folder)
    except (
        TypeError,
        ValueError,
        AttributeError,
    ):  # no such values; transformers says what is wrong
        return True


def _adds_nothing(config: Mapping[str, Any], added: list[dict[str, Any]], folder: Path) -> bool:
    """Whether all tokens that a configuration names are among those added in tokenizer.json."""
    by_content = {token["content"]: token for token in added}
    named = all(token in by_content for token in _named(config, folder))
    listed = _listed(config)
    return named and all(_is_same(t, by_content.get(t["content"], {})) for t in listed)


def _listed(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The added tokens that a configuration lists with their flags."""
    listed = config.get("added_tokens_decoder") or {}
    return [{**token, "id": int(id)} for id, token in listed.items()]


def _is_same(token: Mapping[str, Any], added: Mapping[str, Any]) -> bool:
    return all(token.get(key) == added.get(key) for key in ("id", *_FLAGS))


def _named(config: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Yields the contents of the tokens that a configuration names."""
    for key, value in config.items():
        if key.endswith("_token"):
            yield from _contents([value])
    for key in ("additional_special_tokens", "extra_special_tokens"):
        tokens = config.get(key) or []
        yield from _contents(tokens.values() if isinstance(tokens, dict) else tokens)
    if (folder / "added_tokens.json").is_file():
        yield from json.loads((folder / "added_tokens.json").read_text(encoding="utf-8"))


def _contents(tokens: Any) -> Iterator[str]:
    for token in tokens:
        content = token.get("content") if isinstance(token, dict) else token
        if isinstance(content, str):
            yield content


def _not_installed(folder: Path, name: str) -> str:
    if not (folder / "tokenizer.json").is_file():
        return (
            f"tokenizer '{name}' has no tokenizer.json, and transformers, which can make it, is "
            f"not installed; run `{INSTALL}`."
        )
    named = read_config(folder).get("tokenizer_class")
    what = f"its class {named}" if named else "its config.json"
    return (
        f"the ids of tokenizer '{name}' may differ from its tokenizer.json, since {what} decides "
        f"with transformers, which is not installed; run `{INSTALL}`."
    )


# ---------------------------------------------------------------------------------- what it makes


def _auto_tokenizer() -> Any:
    """transformers' AutoTokenizer, imported without its advice to install PyTorch."""
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    from transformers import AutoTokenizer

    return AutoTokenizer


def _config_of(folder: Path, name: str) -> Any:
    """The model's config under the name that its repository has on the Hub, by which transformers
    knows some models; None for a folder that has no such name."""
    repo = name.partition("@")[0]
    if "/" not in repo or not (folder / "config.json").is_file():
        return None
    from transformers import AutoConfig, PretrainedConfig

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (ValueError, OSError):
        config = PretrainedConfig.from_pretrained(folder)
    config._name_or_path = repo
    return config


def _has_same_ids(first: str, second: str, name: str) -> bool:
    """Whether two tokenizer.json say the same about the ids of texts.

    A file that an older version wrote is first written anew where it seems to differ.
    """
    expected = _that_matters(second)
    if _that_matters(first) == expected:
        return True
    return _that_matters(parse(first, name).to_str()) == expected


def _that_matters(text: str) -> dict[str, Any]:
    matters = {key: value for key, value in json.loads(text).items() if key not in _NO_MATTER}
    stages = matters.get("pre_tokenizer") or {}
    for stage in (stages, *stages.get("pretokenizers", ())):
        stage.pop("trim_offsets", None)
    return matters


def _compare(tokenizer: tokenizers.Tokenizer, made: Any, name: str) -> None:
    """Raises RenderError where `tokenizers` and transformers make different ids of a text."""
    control = [token.content for token in tokenizer.get_added_tokens_decoder().values()][:64]
    texts = [*PROBE_TEXTS, *(f"a {token} b{token}" for token in control)]
    try:
        expected = made(texts, add_special_tokens=False)["input_ids"]
        encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    except Exception as error:  # `tokenizers` raises bare Exception
        raise RenderError(f"tokenizer '{name}' cannot write all texts: {error}.") from None
    for text, ids, encoding in zip(texts, expected, encodings, strict=True):
        if list(ids) != encoding.ids:
            raise RenderError(
                f"transformers makes {list(ids)[:12]} of {text!r} with tokenizer '{name}', and "
                f"tokenizers makes {encoding.ids[:12]}, so no rows are sure to be right; choose "
                "another tokenizer, and please report this one."
            )
