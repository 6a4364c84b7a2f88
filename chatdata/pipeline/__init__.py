"""A recipe, and the build that composes the steps into a dataset."""
