"""Second opinions: what llhttp (through httptools) and h11 make of bytes that we took, or wrote.

llhttp is what many servers read with, h11 says exactly where a message ends. Neither is the
standard; where they are laxer than we are nothing is asked of them, where they are stricter we are
wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import h11
import httptools

LONGEST_HEAD = 128 * 1024
METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass
class Message:
    """What a judge read. ``whole``: up to its end, after which ``rest`` follows; ``refused``: it
    could not be read at all."""

    method: bytes = b""
    target: bytes = b""
    status: int = 0
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    rest: bytes = b""
    whole: bool = False
    switched: bool = False
    refused: str = ""

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name]


class _Llhttp:
    """Callbacks of httptools; what comes after the first message is not kept."""

    def __init__(self) -> None:
        self.message = Message()
        self.parser: httptools.HttpRequestParser | httptools.HttpResponseParser | None = None

    def on_url(self, url: bytes) -> None:
        if not self.message.whole:
            self.message.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.message.whole:
            self.message.fields.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        if self.message.whole:
            return
        if isinstance(self.parser, httptools.HttpRequestParser):
            self.message.method = self.parser.get_method()
        elif self.parser is not None:
            self.message.status = self.parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        if not self.message.whole:
            self.message.body += body

    def on_message_complete(self) -> None:
        self.message.whole = True

    def read(
        self, parser: httptools.HttpRequestParser | httptools.HttpResponseParser, data: bytes
    ) -> Message:
        self.parser = parser
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.message.switched = True
        except httptools.HttpParserError as error:  # of what stands after the end, too
            self.message.refused = str(error) or type(error).__name__
        self.parser = None
        return self.message


def llhttp_request(data: bytes) -> Message:
    """One request; ``refused`` if anything at all in ``data`` is. llhttp knows a list of methods;
    any token is one (RFC 9110 9.1)."""
    callbacks = _Llhttp()
    message = callbacks.read(httptools.HttpRequestParser(callbacks), data)
    method, _, rest = data.partition(b" ")
    if method != b"GET" and message.refused and METHOD.fullmatch(method):
        message = llhttp_request(b"GET " + rest)
        message.method = method
    return message


def llhttp_response(data: bytes) -> Message:
    """One final response to a GET; ``data`` holds nothing before it."""
    callbacks = _Llhttp()
    return callbacks.read(httptools.HttpResponseParser(callbacks), data)


def h11_requests(data: bytes) -> list[Message]:
    """All requests of a connection as a server reads them, each answered with an empty 404. The
    last one may be unfinished or refused."""
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=LONGEST_HEAD)
    reader.receive_data(data)
    messages: list[Message] = []
    message = Message()
    while True:
        try:
            event = reader.next_event()
        except h11.RemoteProtocolError as error:
            message.refused = str(error)
            return [*messages, message]
        if isinstance(event, h11.Request):
            message = Message(bytes(event.method), bytes(event.target))
            message.fields = [(bytes(name), bytes(value)) for name, value in event.headers]
            messages.append(message)
        elif isinstance(event, h11.Data):
            message.body += event.data
        elif isinstance(event, h11.EndOfMessage):
            message.whole = True
            message = Message()
            reader.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
            reader.send(h11.EndOfMessage())
            if reader.our_state is h11.MUST_CLOSE:
                return messages
            reader.start_next_cycle()
        else:  # NEED_DATA, PAUSED: nothing more will come
            return messages


def h11_responses(data: bytes, methods: list[bytes], *, ended: bool) -> list[Message]:
    """All final responses of a connection as a browser reads them that sent requests with these
    methods. ``ended``: the bytes were followed by a clean end. Interim responses are skipped; what
    follows a 101 is ``rest``."""
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=LONGEST_HEAD)
    reader.receive_data(data)
    if ended:
        reader.receive_data(b"")
    messages: list[Message] = []
    for method in methods:
        asked: list[tuple[bytes, bytes]] = [(b"Host", b"a")]
        if method == b"UPGRADE":
            method, asked = b"GET", [*asked, (b"Connection", b"upgrade"), (b"Upgrade", b"x")]
        message = Message()
        reader.send(h11.Request(method=method, target=b"/", headers=asked))
        reader.send(h11.EndOfMessage())
        messages.append(message)
        while not message.whole:
            try:
                event = reader.next_event()
            except h11.RemoteProtocolError as error:
                message.refused = str(error)
                return messages
            if isinstance(event, h11.Response) or (
                isinstance(event, h11.InformationalResponse) and event.status_code == 101
            ):
                message.status = event.status_code
                message.fields = [(bytes(name), bytes(value)) for name, value in event.headers]
                if event.status_code == 101:
                    message.whole = message.switched = True
                    message.rest = reader.trailing_data[0]
                    return messages
            elif isinstance(event, h11.Data):
                message.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                message.whole = True
            elif not isinstance(event, h11.InformationalResponse):
                return messages
        message.rest = reader.trailing_data[0]
        if reader.their_state is not h11.DONE or reader.our_state is not h11.DONE:
            return messages
        reader.start_next_cycle()
    return messages
