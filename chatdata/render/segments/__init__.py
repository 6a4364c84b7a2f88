"""What a row of tokens is made of: control tokens, and the texts between them."""

__all__ = ["by_row", "encoded", "from_spec", "from_text", "prompt_prefix", "text_pool", "unencoded"]
