"""A recipe, and the build that composes the steps into a dataset."""

__all__ = ["build", "engines", "find", "prepare", "progress", "recipe", "render_again"]
