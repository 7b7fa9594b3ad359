"""One LDAP connection: the only place that calls ldap3, and where its errors are translated.

ldap3's own way of opening sockets is left out on purpose: it accepts only whole seconds, wraps
certificate errors beyond recognition and cannot be stopped from outside. It gets a connected
``Wire`` instead and does what it is good at: encoding, decoding, message ids. Synchronous; one
thread at a time. Must not know employees.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

import ldap3
from ldap3.core import results
from ldap3.core.exceptions import LDAPExceptionError, LDAPInvalidFilterError
from ldap3.protocol.rfc3062 import NewPasswd, OldPasswd, PasswdModifyRequestValue, UserIdentity

from broker.directory.verdict import (
    ACCOUNT_REFUSED,
    PPOLICY,
    WRONG_CREDENTIALS,
    Ppolicy,
    read_ppolicy,
)
from broker.directory.wire import Wire, dial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.directory.cutoff import Cutoff
    from broker.directory.plan import DirectoryPlan, Server

Answer = TypeVar("Answer")

START_TLS = "1.3.6.1.4.1.1466.20037"
"""RFC 4511 section 4.14."""

PASSWORD_MODIFY = "1.3.6.1.4.1.4203.1.11.1"
"""RFC 3062."""

PAGED = "1.2.840.113556.1.4.319"
"""RFC 2696."""

PAGE = 500
MOST_ENTRIES = 10_000
"""Entries in one page, and in one answer."""


class Broken(Exception):
    """This connection is of no more use. ``cause`` is one sentence without addresses or names;
    ``silent`` when the server kept the connection open and said nothing in time."""

    def __init__(self, cause: str, *, silent: bool = False) -> None:
        super().__init__(cause)
        self.cause = cause
        self.silent = silent


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as the directory gave it. Attribute names in lower case; values that are not UTF-8
    have replacement characters; ``raw`` holds the bytes of them all."""

    dn: str
    attributes: Mapping[str, tuple[str, ...]]
    raw: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)

    def values(self, attribute: str) -> tuple[str, ...]:
        return self.attributes.get(attribute.lower(), ())


@dataclass(frozen=True, slots=True)
class BindAnswer:
    """``code``: success, or one that concerns the account; ``message`` as the server wrote it."""

    code: int
    message: str
    ppolicy: Ppolicy


@dataclass(frozen=True, slots=True)
class ChangeAnswer:
    """The answer to a change of a password: its result, as the server wrote it."""

    code: int
    message: str


class Link:
    """An open connection. Every call may raise Broken; after that it can only be closed."""

    def __init__(self, server: Server, wire: Wire, opened: float) -> None:
        self.server = server
        self.opened = opened
        self._wire = wire
        self._connection = _connection_over(wire)

    def usable(self, now: float, age_limit: float) -> bool:
        """False when the server has hung up meanwhile, or it is time to look whether a server
        further up the list is back."""
        return now - self.opened < age_limit and not self._wire.hung_up()

    def bind(self, dn: str, password: str) -> BindAnswer:
        """Simple bind, with the request for password policies' response control.

        ``password`` must not be empty: that would be an unauthenticated bind, which succeeds
        without proving anything (RFC 4513 section 5.1.2). It goes out as the UTF-8 it was typed in:
        ldap3 would apply SASLprep to text, which few other clients do.
        """
        if not password:
            raise ValueError("a bind needs a password")
        connection = self._connection
        connection.user = dn
        connection.password = password.encode()
        connection.authentication = ldap3.SIMPLE
        try:
            asked = [(PPOLICY, False, None)]
            self._ask(lambda: connection.bind(read_server_info=False, controls=asked))
            code: int = connection.result["result"]
        finally:
            connection.password = connection.request = None
        if code == results.RESULT_SUCCESS or code in WRONG_CREDENTIALS | ACCOUNT_REFUSED:
            control = (connection.result.get("controls") or {}).get(PPOLICY)
            value = control["value"] if control else b""
            ppolicy = read_ppolicy(value) if isinstance(value, bytes) and value else Ppolicy()
            return BindAnswer(code, str(connection.result.get("message", "")), ppolicy)
        self._refuse("bind")

    def modify_password(self, dn: str, old: str, new: str) -> ChangeAnswer:
        """RFC 3062, of ``dn``. Passwords go out as the UTF-8 they were typed in."""
        value = PasswdModifyRequestValue()
        value["userIdentity"] = UserIdentity(dn)
        value["oldPasswd"] = OldPasswd(old.encode())
        value["newPasswd"] = NewPasswd(new.encode())
        return self._change(lambda: self._connection.extended(PASSWORD_MODIFY, value))

    def change_unicode_password(self, dn: str, old: str, new: str) -> ChangeAnswer:
        """Active Directory's way: the old value out and the new one in, in one modification, which
        needs no right but to know the old one ([MS-ADTS] 3.1.1.3.1.5)."""
        quoted = [f'"{password}"'.encode("utf-16-le") for password in (old, new)]
        changes = {
            "unicodePwd": [
                (ldap3.MODIFY_DELETE, [quoted[0]]),
                (ldap3.MODIFY_ADD, [quoted[1]]),
            ]
        }
        connection: Any = self._connection
        return self._change(lambda: connection.modify(dn, changes))

    def _change(self, question: Callable[[], object]) -> ChangeAnswer:
        try:
            self._ask(question)
            result = self._connection.result
            return ChangeAnswer(int(result["result"]), str(result.get("message", "")))
        finally:
            self._connection.request = None

    def search(
        self,
        base: str,
        search_filter: str,
        attributes: Sequence[str],
        *,
        scope: Literal["BASE", "SUBTREE"] = "SUBTREE",
        limit: int = 0,
    ) -> list[Entry] | None:
        """Entries that match, at most ``limit`` (0: all, read page by page where the server knows
        how); None when ``base`` does not exist. Referrals are not followed (ours: the server may be
        anybody's)."""
        entries: list[Entry] = []
        paged = scope == "SUBTREE" and not limit
        cookie: bytes | None = None
        while True:
            page = self._page(base, search_filter, attributes, scope, limit, cookie, paged=paged)
            if page is None:
                return None
            found, cookie = page
            entries += found
            if not cookie:
                return entries
            if len(entries) > MOST_ENTRIES:
                raise Broken(f"the answer has more than {MOST_ENTRIES} entries")

    def _page(
        self,
        base: str,
        search_filter: str,
        attributes: Sequence[str],
        scope: Literal["BASE", "SUBTREE"],
        limit: int,
        cookie: bytes | None,
        *,
        paged: bool,
    ) -> tuple[list[Entry], bytes | None] | None:
        """One page, and the cookie by which the next is asked for."""
        connection = self._connection
        self._ask(
            lambda: connection.search(
                base,
                search_filter,
                search_scope=scope,
                dereference_aliases=ldap3.DEREF_NEVER,
                attributes=list(attributes) or [ldap3.NO_ATTRIBUTES],
                size_limit=limit,
                paged_size=PAGE if paged else None,
                paged_cookie=cookie,
            )
        )
        result = connection.result
        code = result["result"]
        if code == results.RESULT_NO_SUCH_OBJECT:
            return None
        enough = limit and code == results.RESULT_SIZE_LIMIT_EXCEEDED
        if code != results.RESULT_SUCCESS and not enough:
            self._refuse("search")
        found = connection.response or []
        entries = self._ask(lambda: [_entry(e) for e in found if e["type"] == "searchResEntry"])
        control = (result.get("controls") or {}).get(PAGED) if paged else None
        return entries, control["value"]["cookie"] if control else None

    def start_tls(self, context: ssl.SSLContext) -> None:
        """RFC 4511 section 4.14. What came in before TLS was up is forgotten with the old wire."""
        self._ask(lambda: self._connection.extended(START_TLS))
        if self._connection.result["result"] != results.RESULT_SUCCESS:
            self._refuse("StartTLS")
        _secure(self._wire, context, self.server.host)

    def close(self) -> None:
        self._connection.strategy.close()
        self._wire.close()

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        """Call into ldap3. What it raises on a hostile answer has no common base class: its decoder
        indexes and converts whatever came."""
        try:
            return question()
        except Exception as error:
            raise Broken(_sentence(error, self._wire), silent=self._wire.silent) from error

    def _refuse(self, operation: str) -> NoReturn:
        result = self._connection.result
        raise Broken(f"the {operation} was answered with {result['description']}")


def open_link(
    server: Server,
    plan: DirectoryPlan,
    context: ssl.SSLContext,
    cutoff: Cutoff,
    now: float,
) -> Link:
    """Connect, and encrypt as the plan says. Raises Broken."""
    try:
        wire = dial(server, plan, cutoff)
    except OSError as error:
        raise Broken(f"no connection ({_reason(error)})", silent=True) from error
    link = Link(server, wire, now)
    try:
        if server.ldaps:
            _secure(wire, context, server.host)
        elif plan.start_tls:
            link.start_tls(context)
    except Broken:
        link.close()
        raise
    return link


def _connection_over(wire: Wire) -> ldap3.Connection:
    """An ldap3 connection that is open already and can never open itself again."""
    connection = ldap3.Connection(
        ldap3.Server("already.connected.invalid", get_info=ldap3.NONE),
        auto_bind=ldap3.AUTO_BIND_NONE,
        auto_referrals=False,
        check_names=False,
        return_empty_attributes=False,
    )

    def refuse_to_open(*_: object, **__: object) -> NoReturn:
        raise LDAPExceptionError("closed")

    connection.open = refuse_to_open
    connection.socket = wire
    connection.strategy._outstanding = {}
    connection.closed = False
    connection.listening = True
    return connection


def _secure(wire: Wire, context: ssl.SSLContext, host: str) -> None:
    try:
        wire.secure(context, host)
    except ssl.SSLCertVerificationError as error:
        raise Broken(f"its certificate is not trusted ({_reason(error)})") from error
    except TimeoutError as error:
        raise Broken("TLS was not set up in time", silent=True) from error
    except (OSError, ValueError) as error:
        raise Broken(f"TLS could not be set up ({_reason(error)})") from error


def _entry(response: Mapping[str, object]) -> Entry:
    raw = response["raw_attributes"]
    assert isinstance(raw, Mapping)
    held = {
        str(name).lower(): tuple(bytes(value) for value in values)
        for name, values in raw.items()
        if values
    }
    texts = {
        name: tuple(value.decode(errors="replace") for value in values)
        for name, values in held.items()
    }
    return Entry(str(response["dn"]), texts, held)


def _sentence(error: Exception, wire: Wire) -> str:
    if wire.silent:
        return "no answer in time"
    if isinstance(error, LDAPInvalidFilterError):
        return "a filter in the configuration is not valid"
    if isinstance(error, LDAPExceptionError):
        return "the connection was lost"
    return "the answer makes no sense"


def _reason(error: Exception) -> str:
    """Of an operating-system or TLS error, the part that names no address."""
    if isinstance(error, ssl.SSLCertVerificationError):
        text = error.verify_message
        return "it is for another host name" if "match" in text.lower() else text
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no TLS").replace("_", " ").lower()
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "invalid"
