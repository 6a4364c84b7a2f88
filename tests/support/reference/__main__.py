"""Writes the pages of docs/reference, and the JSON Schema of recipes beside them."""

from chatdata.pipeline import recipe_schema
from tests.support import reference

(reference.FOLDER.parent / "recipe.schema.json").write_text(recipe_schema.as_text(), "utf-8")
print("\n".join(reference.write()) or "nothing to change")
