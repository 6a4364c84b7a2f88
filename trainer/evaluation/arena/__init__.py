"""People compare the answers of two to four models, without knowing whose they are."""

__all__ = ["book", "contest", "exports", "page", "summary"]
