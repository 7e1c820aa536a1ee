"""Addresses of databases and servers as they may be printed, stored and passed on: without passwords and tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

HIDDEN = "***"
AMBIGUOUS = "…"
"""Stands for all of an address of which nobody can say where its password ends."""
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_SECRET_NAME = re.compile(r"pass|pwd|secret|token|credential|auth|signature|^sig$|odbc_connect|key$", re.I)
"""Of a query's parameter whose value is nobody's business."""
_ASSIGNED = re.compile(
    r"""(?P<name>[\w-]*(?:password|passwd|pwd|secret|token|api_?key|access_?key))
        (?P<sign>["']?\s*(?:=|:\s?["'])\s*["']?)(?P<value>[^\s&;,'"]+)""",
    re.I | re.X,
)
"""`password=x` anywhere, as drivers quote what they could not connect with."""
_WRITTEN_AS_USER = re.compile(r"[^:/?#@]*:(?!\d{1,5}(?:[/?#]|$))")
"""The beginning of `user:password`, and not of `host:port`."""


def is_address(text: str) -> bool:
    """Whether it is that of a database or a server; everything else is a path."""
    return "://" in text


def has_secret(address: str) -> bool:
    """Whether an address, as it is, must not be written down."""
    return is_address(address) and without_secrets(address) != address


def without_secrets(text: str, *known: str) -> str:
    """A text, or an address, without the passwords and tokens of the addresses in it.

    What an address says of a user stays, but for web servers, where a user may be a token. Passwords may hold any
    character, escaped or not. `known`: addresses whose secrets are to go wherever they stand alone.
    """
    for secret in dict.fromkeys(each for address in known for each in _secrets(address)):
        text = text.replace(secret, HIDDEN)
    if _ADDRESS.match(text) and "\n" not in text and not re.search(r"\s\S*://", text):
        return _shown(text)
    text = _ADDRESS.sub(lambda found: _shown(found[0]), text)
    return _ASSIGNED.sub(lambda found: f"{found['name']}{found['sign']}{HIDDEN}", text)


def _shown(address: str) -> str:
    scheme, _, rest = address.partition("://")
    parts = _parts(rest)
    if parts is None:
        return f"{scheme}://{AMBIGUOUS}"
    user, _, _ = parts[0].partition(":")
    shown = f"{user}@" if user and not scheme.lower().startswith("http") else ""
    return f"{scheme}://{shown}{_without_secret_parameters(parts[1])}"


def _parts(rest: str) -> tuple[str, str] | None:
    """What stands before the `@` of a user, and what follows; None where that cannot be told.

    A password may hold `/`, `?`, `#` and `@` as they are, though they should be escaped; so may a query's values.
    """
    at, query = rest.rfind("@"), re.search(r"[?#]", rest)
    if at < 0 or rest.startswith("/"):
        return "", rest
    if query is None or at < query.start():
        user = rest[:at]
        # A path with a version, as in host/name@2.
        return ("", rest) if "/" in user and ":" not in user else (user, rest[at + 1 :])
    head, between = rest[: query.start()], rest[query.start() : at]
    if "@" not in head and "=" not in between and _WRITTEN_AS_USER.match(head):
        return rest[:at], rest[at + 1 :]
    return None


def _without_secret_parameters(rest: str) -> str:
    place, *pairs = re.split(r"([?&;#])", rest)
    kept = [
        (sign, pair)
        for sign, pair in zip(pairs[::2], pairs[1::2], strict=True)
        if not _SECRET_NAME.search(unquote(pair.partition("=")[0]))
    ]
    signs = [sign for sign, _ in kept]
    if signs and signs[0] in "&;":
        signs[0] = "?"
    return place + "".join(f"{sign}{pair}" for sign, (_, pair) in zip(signs, kept, strict=True))


def _secrets(address: str) -> Iterator[str]:
    """The secrets of an address, as they stand there and as they are meant; not those so short that they are words."""
    if not is_address(address):
        return
    rest = address.partition("://")[2]
    parts = _parts(rest)
    user, _, password = ("", "", "") if parts is None else parts[0].partition(":")
    # Of a web server it may be a token.
    found = [password, *([user] if address.lower().startswith("http") else [])]
    for pair in re.split(r"[?&;#]", rest)[1:]:
        name, _, value = pair.partition("=")
        if _SECRET_NAME.search(unquote(name)):
            found.append(value)
    for secret in found:
        for form in (secret, unquote(secret)):
            if len(form) > 2:
                yield form
