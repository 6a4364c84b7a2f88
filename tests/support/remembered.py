"""What every build proves again, proved once for each tokenizer, template and options."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

from chatdata.core.hashing import sha256_json
from chatdata.render import certificate
from chatdata.render.built_in import BuiltInTemplate
from chatdata.render.options import Render
from chatdata.render.parity import ParityCounts
from chatdata.render.tokenizer import Tokenizer

_certify = certificate.certify


def certifying() -> SimpleNamespace:
    """The certificate as builds use it. Of built-in templates, which write the same in every test,
    the counts are remembered: a fifth of a second of each of many hundred builds."""
    known: dict[str, ParityCounts] = {}

    def certify(tokenizer: Tokenizer, options: Render) -> ParityCounts:
        template: Any = tokenizer.template
        if type(template) is not BuiltInTemplate or certificate.certify is not _certify:
            return certificate.certify(tokenizer, options)
        facts = [tokenizer.name, tokenizer.sha256, repr(template.spec)]
        key = sha256_json([*facts, options.model_dump(mode="json")])
        if key not in known:
            known[key] = certificate.certify(tokenizer, options)
        return copy.deepcopy(known[key])

    return SimpleNamespace(certify=certify)
