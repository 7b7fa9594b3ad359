"""A real LDAP server for the demo and the tests, in a process of its own, on loopback only.

``python -m broker.demo.ldap_server --ldif F --port N --certificate C --key K`` loads the LDIF,
listens (LDAPS; with ``--start-tls`` plain LDAP that must be upgraded before anything else), prints
``READY PORT`` and serves until SIGTERM. Port 0 picks a free one. The protocol is ldaptor's on
Twisted; here are the rules of the house: nobody anonymous sees more than
the root entry, employees see their own entry, and only accounts under ``ou=services`` may search.
The one thing that changes is a password (RFC 3062), by whoever knows the old one, until the server
stops. An expired or reset one opens nothing and is told as Active Directory tells it, by a sub-code
and to nobody but who has it. It must not be used for anything real: passwords are kept as
``{SSHA}`` and there is no lock-out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldaptor._encoder import to_bytes
from ldaptor.protocols import pureber, pureldap
from ldaptor.protocols.ldap import ldaperrors
from ldaptor.protocols.ldap.ldapserver import BaseLDAPServer
from twisted.internet import reactor, ssl
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import ServerFactory

from broker.demo.employees import PASSWORD_ENDED, PASSWORD_RESET
from broker.demo.ldap_tree import Entry, Tree, load

if TYPE_CHECKING:
    from collections.abc import Callable

    Reply = Callable[[object], None]

START_TLS = pureldap.LDAPStartTLSRequest.oid
SERVICES = b",ou=services,"
SIZE_LIMIT = 2000
PASSWORD_MODIFY = pureldap.LDAPPasswordModifyRequest.oid
SHORTEST_PASSWORD = 10
# [MS-ADTS] 3.1.1.5.1: ERROR_PASSWORD_EXPIRED, ERROR_PASSWORD_MUST_CHANGE
SUB_CODES = {PASSWORD_ENDED.encode(): b"532", PASSWORD_RESET.encode(): b"773"}
REFUSED = b"80090308: LdapErr: DSID-0C090447, comment: AcceptSecurityContext error, data %b, v3839"


class DirectoryServer(BaseLDAPServer):  # type: ignore[misc]
    """One client's connection: who it is bound as, and whether it is encrypted yet."""

    factory: DirectoryFactory

    fail_LDAPBindRequest = pureldap.LDAPBindResponse
    fail_LDAPSearchRequest = pureldap.LDAPSearchResultDone
    fail_LDAPCompareRequest = pureldap.LDAPCompareResponse
    fail_LDAPAddRequest = pureldap.LDAPAddResponse
    fail_LDAPDelRequest = pureldap.LDAPDelResponse
    fail_LDAPModifyRequest = pureldap.LDAPModifyResponse
    fail_LDAPModifyDNRequest = pureldap.LDAPModifyDNResponse

    def __init__(self) -> None:
        super().__init__()
        self.bound: Entry | None = None
        self.secure = False

    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.setTcpNoDelay(True)
        self.secure = not self.factory.start_tls

    def handle_LDAPBindRequest(self, request: Any, controls: Any, reply: Reply) -> Any:
        """Simple bind (RFC 4513 section 5.1); a name with an empty password is refused (5.1.2)."""
        self.bound = None
        self.checkControls(controls)
        if request.version != 3:
            raise ldaperrors.LDAPProtocolError("only LDAP version 3 is spoken here")
        if request.sasl:
            raise ldaperrors.LDAPAuthMethodNotSupported()
        name, password = to_bytes(request.dn), to_bytes(request.auth)
        if not name and not password:
            return pureldap.LDAPBindResponse(resultCode=0)
        if not self.secure:
            raise ldaperrors.LDAPConfidentialityRequired("start TLS first")
        if not password:
            raise ldaperrors.LDAPUnwillingToPerform("unauthenticated bind")
        try:
            entry = self.factory.tree.entry(name)
        except ldaperrors.LDAPNoSuchObject:
            raise ldaperrors.LDAPInvalidCredentials() from None

        def accepted(entry: Entry) -> pureldap.LDAPBindResponse:
            for attribute, code in SUB_CODES.items():
                if attribute in entry:
                    raise ldaperrors.LDAPInvalidCredentials(REFUSED % code)
            self.bound = entry
            return pureldap.LDAPBindResponse(resultCode=0)

        return entry.bind(password).addCallback(accepted)

    def handle_LDAPUnbindRequest(self, request: Any, controls: Any, reply: Reply) -> None:
        self.transport.loseConnection()

    def handle_LDAPSearchRequest(self, request: Any, controls: Any, reply: Reply) -> Any:
        """Search (RFC 4511 section 4.5), within what the bound account may see."""
        self.checkControls(controls)
        base = to_bytes(request.baseObject)
        if not base and request.scope == pureldap.LDAP_SCOPE_baseObject:
            reply(self._root_entry())
            return pureldap.LDAPSearchResultDone(resultCode=0)
        if self.bound is None:
            raise ldaperrors.LDAPInsufficientAccessRights()
        tree = self.factory.tree
        limit = min(request.sizeLimit or SIZE_LIMIT, SIZE_LIMIT)
        sent = 0
        for entry in tree.search(tree.entry(base), request.scope, request.filter):
            if not self._may_see(entry):
                continue
            if sent == limit:
                raise ldaperrors.LDAPSizeLimitExceeded()
            reply(_selected(entry, request.attributes))
            sent += 1
        return pureldap.LDAPSearchResultDone(resultCode=0)

    def handle_LDAPExtendedRequest(self, request: Any, controls: Any, reply: Reply) -> Any:
        """StartTLS (RFC 4511 section 4.14): answer in the clear, then turn the transport over."""
        self.checkControls(controls)
        if to_bytes(request.requestName) == PASSWORD_MODIFY:
            return self._change_password(request)
        if to_bytes(request.requestName) != START_TLS:
            raise ldaperrors.LDAPProtocolError("unknown extended operation")
        if self.secure:
            raise ldaperrors.LDAPOperationsError("TLS has been started already")
        reply(pureldap.LDAPStartTLSResponse(resultCode=0, responseName=START_TLS))
        self.buffer = b""
        self.transport.startTLS(self.factory.tls)
        self.secure = True
        self.bound = None

    def _change_password(self, request: Any) -> Any:
        """RFC 3062: one's own, or the service account anybody's; the old one must be told."""
        if not self.secure or self.bound is None:
            raise ldaperrors.LDAPStrongAuthRequired()
        told = _password_fields(to_bytes(request.requestValue))
        entry = self.factory.tree.entry(told.get(0, self.bound.key))
        if not self._may_see(entry):
            raise ldaperrors.LDAPInsufficientAccessRights()
        new = told.get(2, b"")

        def changed(entry: Entry) -> pureldap.LDAPExtendedResponse:
            if len(new) < SHORTEST_PASSWORD or new == told.get(1):
                raise ldaperrors.LDAPConstraintViolation("too short, or the old one")
            entry.set_password(new)
            return pureldap.LDAPExtendedResponse(resultCode=0, responseName=PASSWORD_MODIFY)

        return entry.bind(told.get(1, b"")).addCallback(changed)

    def handleUnknown(self, request: Any, controls: Any, callback: Reply) -> Any:
        """Everything else would change something."""
        raise ldaperrors.LDAPUnwillingToPerform("nothing here can be changed but a password")

    def _may_see(self, entry: Entry) -> bool:
        return self.bound is not None and (SERVICES in self.bound.key or entry is self.bound)

    def _root_entry(self) -> pureldap.LDAPSearchResultEntry:
        return pureldap.LDAPSearchResultEntry(
            objectName=b"",
            attributes=[
                (b"objectClass", [b"top"]),
                (b"supportedLDAPVersion", [b"3"]),
                (b"namingContexts", [self.factory.tree.suffix]),
                (
                    b"supportedExtension",
                    [PASSWORD_MODIFY, *([START_TLS] if self.factory.start_tls else [])],
                ),
            ],
        )


class DirectoryFactory(ServerFactory):  # type: ignore[misc]
    """What all connections share: the tree and the certificate."""

    protocol = DirectoryServer
    noisy = False

    def __init__(self, tree: Tree, tls: ssl.CertificateOptions, start_tls: bool) -> None:
        self.tree = tree
        self.tls = tls
        self.start_tls = start_tls


def _selected(entry: Entry, wanted: list[bytes]) -> pureldap.LDAPSearchResultEntry:
    """The entry with the attributes asked for (``*`` or none named: all); never the password."""
    names = {to_bytes(name).lower() for name in wanted}
    everything = not names or b"*" in names
    return pureldap.LDAPSearchResultEntry(
        objectName=entry.dn.getText(),
        attributes=[
            (name, values)
            for name, values in entry.items()
            if name.lower() != b"userpassword" and (everything or name.lower() in names)
        ],
    )


def _password_fields(value: bytes) -> dict[int, bytes]:
    """The number of each context tag of the sequence, and what stands in it (RFC 3062, 2)."""
    try:
        inner = pureldap.LDAPBERDecoderContext_LDAPPasswordModifyRequest()
        context = pureber.BERDecoderContext(inherit=inner)
        sequence, _ = pureber.berDecodeObject(context, value)
        return {field.tag & 0x1F: field.value for field in sequence}
    except (pureber.BERException, TypeError, AttributeError):
        raise ldaperrors.LDAPProtocolError("no change of a password") from None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m broker.demo.ldap_server")
    parser.add_argument("--ldif", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--certificate", type=Path, required=True, help="PEM")
    parser.add_argument("--key", type=Path, required=True, help="PEM")
    parser.add_argument("--start-tls", action="store_true", help="plain LDAP, upgraded by StartTLS")
    chosen = parser.parse_args(arguments)

    pem = chosen.certificate.read_bytes() + b"\n" + chosen.key.read_bytes()
    tls = ssl.PrivateCertificate.loadPEM(pem).options()
    factory = DirectoryFactory(load(chosen.ldif.read_bytes()), tls, chosen.start_tls)
    try:
        if chosen.start_tls:
            port = reactor.listenTCP(chosen.port, factory, interface="127.0.0.1", backlog=512)
        else:
            port = reactor.listenSSL(chosen.port, factory, tls, interface="127.0.0.1", backlog=512)
    except CannotListenError as error:
        sys.stderr.write(f"Port {chosen.port} cannot be used: {error.socketError.strerror}.\n")
        return 1
    sys.stdout.write(f"READY {port.getHost().port}\n")
    sys.stdout.flush()
    reactor.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
