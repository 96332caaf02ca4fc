"""What an error says, in one line that names neither the path it is about nor a secret."""

import os
import re
from collections.abc import Iterator

import fsspec

# What clients put into their messages: URLs with a password, or signed for whoever holds them.
_PASSWORD = re.compile(r"(://[^/\s:@]*):[^/\s@]+@")
_SIGNED = re.compile(r"([?&][\w-]*(?:credential|key|password|secret|sig|signature|token)=)[^&\s'\"]+", re.IGNORECASE)
_KEY_ID = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")  # Amazon's, wherever it is set
_VARIABLES = re.compile(r"(?:AWS|FSSPEC|MLFLOW|RAY)_(?:\w*_)?(?:KEY|KEY_ID|PASSWORD|SECRET|TOKEN)")
_OPTIONS = frozenset(["account_key", "connection_string", "key", "passwd", "password", "sas_token", "secret", "token"])
_LEAST = 4  # letters: without a shorter one no sentence could be read
_HIDDEN = "***"
_ARROWS = "Detail: [errno {}] {}"  # behind what was being done, with the path


def reason(error: BaseException) -> str:
    """Say in one line what an error says, without the path that it is about."""
    if isinstance(error, OSError) and error.errno and error.strerror:
        systems = os.strerror(error.errno)
        is_systems = error.strerror == systems or error.strerror.endswith(_ARROWS.format(error.errno, systems))
        return without_secrets(systems.lower() if is_systems else error.strerror)
    if isinstance(error, FileNotFoundError):
        return "no such file or folder"
    text = without_secrets(" ".join(str(error).split()))
    return text if text and isinstance(error, OSError) else f"{type(error).__name__}: {text}".rstrip(": ")


def without_secrets(text: str) -> str:
    """Return a text without passwords, signatures of URLs, and the credentials that this process was given."""
    text = _SIGNED.sub(rf"\1{_HIDDEN}", _PASSWORD.sub(rf"\1:{_HIDDEN}@", text))
    for secret in sorted(_secrets(), key=len, reverse=True):  # one may be a part of another
        text = text.replace(secret, _HIDDEN)
    return _KEY_ID.sub(_HIDDEN, text)


def _secrets() -> Iterator[str]:
    """Yield the credentials in the environment and in fsspec's configuration, which has those of files too."""
    given = [value for name, value in os.environ.items() if _VARIABLES.fullmatch(name)]
    for options in fsspec.config.conf.values():
        given += [value for name, value in options.items() if name in _OPTIONS and isinstance(value, str)]
    return (value for value in given if len(value) >= _LEAST)
