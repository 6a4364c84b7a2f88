"""Writes the pages of docs/reference."""

from tests.support import reference

print("\n".join(reference.write()) or "nothing to change")
