"""What can go wrong, by name.

    ChatdataError          what a user can mend; the command line prints the error and exits with 1
    ├── ArgumentError      an argument of another type, of a function of Python
    ├── ConfigError        a recipe, an override or a train configuration that does not parse
    ├── SourceError        input that is missing or cannot be read at all
    ├── RenderError        a template and a tokenizer that do not fit together
    ├── BuildError         a build that stops itself: sums that differ, too much dropped
    ├── EncoderDiffers     a fast encoder with other ids than `tokenizers` (in render.encoding)
    ├── PackError          rows that do not fit into the bins of a pack
    ├── VerifyError        a folder that is not what its manifest says
    ├── OutputError        a folder that cannot be written, or is not a finished build
    ├── EngineError        workers that died, or an engine that is not installed
    ├── ExtensionError     a function of a user's file or of a package that fails, or is none
    ├── StorageError       files behind a URL that cannot be reached, read or written
    └── HubError           a repository that cannot be read, or that must not be published to

A message has one or two sentences: the thing, the value, the way out. Any other exception is a
bug of chatdata, and keeps its traceback.
"""


class ChatdataError(Exception):
    """A failure that the user can mend, in words for the user."""


class ArgumentError(ChatdataError, TypeError):
    """An argument of a function of Python that is not of the type that the function takes."""


class ConfigError(ChatdataError):
    """A recipe or a configuration that cannot be accepted."""


class SourceError(ChatdataError):
    """Input that is missing or cannot be read at all."""


class RenderError(ChatdataError):
    """A template that cannot be rendered exactly with this tokenizer."""


class BuildError(ChatdataError):
    """A build that stopped itself rather than publish something wrong."""


class PackError(ChatdataError):
    """Rows that cannot be packed."""


class VerifyError(ChatdataError):
    """A folder that is not what its manifest says."""


class OutputError(ChatdataError):
    """A folder that cannot be written, or that holds no finished build."""


class EngineError(ChatdataError):
    """Workers that died, or an engine for workers that is not installed."""


class ExtensionError(ChatdataError):
    """A function of a user's file, or of an installed package, that fails or has not its form."""


class StorageError(ChatdataError):
    """Files behind a URL (`s3://`) that cannot be reached, read or written."""


class HubError(ChatdataError):
    """A repository on the Hub that cannot be read, or that must not be published to."""
