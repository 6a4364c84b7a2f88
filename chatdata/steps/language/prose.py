"""What a text says in prose: without code, data, addresses, markup, logs.

None of the patterns is exact, and none has to be: they decide which words have a say in a question
about the language, never what is published. They run in Polars, whose regular expressions take
linear time whatever the text.
"""

from __future__ import annotations

import polars as pl

# One pass each, in this order. Letters are those of ASCII: code is written with them, often right
# beside Chinese without a space; and with classes of Unicode a pass takes several times as long.
NOT_PROSE = {
    "code in fences, closed or not; code in a line; tags and control tokens": (
        r"(?s:```.*?(?:```|\z))|`[^`\n]+`|</?[A-Za-z!|][^<>]{0,400}>"
    ),
    "addresses, paths, settings": (
        r"[a-z]+://[!-~]+|www\.[!-~]+|[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+"
        r"|[A-Za-z_:.-]+=(?:\"[^\"\n]*\"|[!-~]+)|(?:[/\\][A-Za-z0-9_.-]+){2,}[/\\]?"
    ),
    "formulas, entities": (
        r"\$\$[^$]*\$\$|\\\[(?s:.*?)\\\]|\\\([^\n]*?\\\)|\\[A-Za-z]+(?:\{[^{}\n]*\})*"
        r"|&#?[A-Za-z0-9]{1,8};"
    ),
    "fields of JSON": (
        r"\"[^\"\n]{1,80}\"[ \t]*:[ \t]*(?:\"(?:[^\"\\]|\\.)*\"|[-0-9.]+|true|false|null)?"
    ),
    "lines of logs, which begin with a time": (
        r"(?m:^[ \t]*[\[(<]*(?:[0-9]{4}[-/.][0-9]{2}[-/.][0-9]{2}[T ]|[A-Z][a-z]{2} +[0-9]{1,2} )?"
        r"[0-9]{2}:[0-9]{2}:[0-9]{2}[^\n]*$)"
    ),
    "lines of stack traces and prompts; definitions, imports, calls, assignments": (
        r"(?m:^[ \t]*(?:at [A-Za-z_$<][^ (\n]*\(|File \"|Traceback \(|Caused by: |>>> |\$ "
        r"|(?:async )?def [A-Za-z_]+\(|class [A-Za-z_]+[(:{]|#include|import [A-Za-z_.]+;?$"
        r"|import [^\n]+ from |from [A-Za-z_.]+ import|(?:const|let|var) [A-Za-z_]+ ?="
        r"|[A-Za-z_.]*(?:Error|Exception): "
        r"|[A-Za-z_$][A-Za-z0-9_.$\[\]]*(?:\([^\n]*\)[;:]?[ \t]*$| ?[-+*/]?= ))[^\n]*$)"
    ),
    "statements, in which brackets or a sign follow no more than three words": (
        r"(?m:^[ \t]*(?:[^\n =(){}\[\]<>]+ ){0,3}[^\n =(){}\[\]<>]*"
        r"[=(){}\[\]<>][^\n]*[;{}][ \t]*$)"
    ),
    "queries": r"\b(?:SELECT|INSERT INTO|DELETE FROM|CREATE TABLE)\b[ -:<-~]*",
}
_QUOTED = r"\"[^\"\n]+\"|“[^”\n]+”|„[^“”\n]+[“”]|«[^»\n]+»|「[^」\n]+」|『[^』\n]+』"
# With digits, underscores (which Markdown escapes), dots or capitals inside.
_NAMES_OF_CODE = (
    r"[A-Za-z0-9_\\]*[0-9_][A-Za-z0-9_\\]*|[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)+"
    r"|[A-Za-z]+[a-z][A-Z][A-Za-z]*"
)
_BETWEEN_WORDS = r"'*[^\p{L}\p{M}']+'*"


def prose(text: pl.Expr) -> pl.Expr:
    """The text, with a space for whatever is not prose."""
    for pattern in NOT_PROSE.values():
        text = text.str.replace_all(pattern, " ")
    return text


def unquoted(text: pl.Expr) -> pl.Expr:
    """The text without what stands in quotation marks."""
    return text.str.replace_all(_QUOTED, " ")


def words(text: pl.Expr) -> pl.Expr:
    """The words of a text, a space between two, without numbers, punctuation, names of code."""
    text = text.str.replace_all(_NAMES_OF_CODE, " ").str.replace_all("’", "'", literal=True)
    return text.str.replace_all(_BETWEEN_WORDS, " ").str.strip_chars(" '")
