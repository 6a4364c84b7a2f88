"""A recipe, and the build that composes the steps into a dataset."""

__all__ = [
    "add_rendering",
    "build",
    "cache",
    "context",
    "downloads",
    "engines",
    "find",
    "look",
    "new_recipe",
    "pieces",
    "prepare",
    "progress",
    "progress_line",
    "python_code",
    "recipe",
    "recipe_keys",
    "recipe_schema",
    "remove_rendering",
    "render_again",
    "shipped",
]
