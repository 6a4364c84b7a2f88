"""The report on an evaluation: a page, and a section of a model card, from the folders of runs."""

__all__ = ["card_section", "folders", "page"]
