"""What two public detectors find in texts: run by `detectors.py` with a Python that has them.

Reads a JSON list of texts from standard input and writes, for each detector, its version, its
seconds and the spans in each text. Nothing here imports chatdata.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

Spans = Iterator[tuple[int, int]]


def detect_secrets() -> Callable[[str], Spans]:
    """detect-secrets with its default plugins and filters, on a file for each text."""
    from detect_secrets.core.scan import scan_file
    from detect_secrets.settings import default_settings

    room = tempfile.TemporaryDirectory()

    def spans(text: str) -> Spans:
        file = Path(room.name) / "text.txt"
        file.write_text(text)
        with default_settings():
            values = {finding.secret_value for finding in scan_file(str(file))}
        for value in filter(None, values):
            for match in re.finditer(re.escape(value), text):
                yield match.span()

    return spans


def presidio() -> Callable[[str], Spans]:
    """presidio-analyzer's recognizers of patterns for addresses, phones and cards."""
    import tldextract
    from presidio_analyzer.predefined_recognizers import (
        CreditCardRecognizer,
        EmailRecognizer,
        PhoneRecognizer,
    )

    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())  # its list, not a network's
    recognizers: dict[str, Any] = {
        "EMAIL_ADDRESS": EmailRecognizer(),
        "PHONE_NUMBER": PhoneRecognizer(),
        "CREDIT_CARD": CreditCardRecognizer(),
    }

    def spans(text: str) -> Spans:
        for entity, recognizer in recognizers.items():
            for result in recognizer.analyze(text, [entity], None):
                if result.score > 0:
                    yield result.start, result.end

    return spans


def scrubadub() -> Callable[[str], Spans]:
    """scrubadub with its default detectors; of their findings those of the kinds compared."""
    import scrubadub

    scrubber = scrubadub.Scrubber()
    kinds = {"email", "phone", "credit_card", "credential"}

    def spans(text: str) -> Spans:
        for filth in scrubber.iter_filth(text):
            types = {part.type for part in getattr(filth, "filths", [filth])}
            if types & kinds:
                yield filth.beg, filth.end

    return spans


DETECTORS = {
    "detect-secrets": detect_secrets,
    "presidio-analyzer": presidio,
    "scrubadub": scrubadub,
}


def main() -> None:
    """Writes what each detector finds."""
    texts = json.load(sys.stdin)
    report = {}
    for name, make in DETECTORS.items():
        detector = make()
        list(detector("Hello"))
        begin = time.process_time()
        spans = [sorted(set(detector(text))) for text in texts]
        seconds = time.process_time() - begin
        report[name] = {"version": version(name), "seconds": seconds, "spans": spans}
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
