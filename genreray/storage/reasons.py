"""What an error says, in one line that names neither the path it is about nor a secret."""

import os
import re

# What clients put into their messages: URLs with a password, or signed for whoever holds them.
_PASSWORD = re.compile(r"(://[^/\s:@]*):[^/\s@]+@")
_SIGNED = re.compile(r"([?&][\w-]*(?:credential|key|password|secret|sig|signature|token)=)[^&\s'\"]+", re.IGNORECASE)
_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_HIDDEN = "***"


def reason(error: BaseException) -> str:
    """Say in one line what an error says, without the path that it is about."""
    if isinstance(error, OSError) and error.errno and error.strerror:
        text = error.strerror.lower() if error.strerror == os.strerror(error.errno) else error.strerror
        return without_secrets(text)
    if isinstance(error, FileNotFoundError):
        return "no such file or folder"
    text = without_secrets(" ".join(str(error).split()))
    return text if text and isinstance(error, OSError) else f"{type(error).__name__}: {text}".rstrip(": ")


def without_secrets(text: str) -> str:
    """Return a text without passwords, signatures of URLs, and the credentials in the environment."""
    text = _SIGNED.sub(rf"\1{_HIDDEN}", _PASSWORD.sub(rf"\1:{_HIDDEN}@", text))
    for name in _VARIABLES:
        if secret := os.environ.get(name):
            text = text.replace(secret, _HIDDEN)
    return text
