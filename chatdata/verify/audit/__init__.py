"""What a dataset trains, by whomever it was made: checks of messages and of rows of tokens.

`inputs` finds and reads the files, `known` what the checks have to know of a tokenizer, `checks`
lists the checks, and `auditing` runs them. To add a check is to add a function and its entry in
`checks`.
"""

__all__ = ["auditing", "checks", "findings", "inputs", "kept", "known", "page"]
