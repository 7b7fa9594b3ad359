"""Which broker a command speaks to: the environment, else a configuration, else a running demo.

Says on standard error when it took the demo, so that nobody revokes sessions in the wrong place.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from broker.cli.client import AdminClient
from broker.cli.main import UnreachableError
from broker.errors import Refused

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

_DEMO = Path(".demo/env")


def find_api(configuration: Path | None, environ: Mapping[str, str], folder: Path) -> AdminClient:
    """The admin API to speak to. ``folder`` is where ``.demo`` is looked for.

    Raises UnreachableError with what to do when there is none, ConfigurationError when the
    configuration that was named is at fault.
    """
    url, token = environ.get("BROKER_ADMIN_URL"), environ.get("BROKER_ADMIN_TOKEN")
    if url and token:
        return AdminClient(url, token, _from_environment(environ))
    if configuration is None and environ.get("BROKER_CONFIG"):
        configuration = Path(environ["BROKER_CONFIG"])
    if configuration is not None:
        return _configured(configuration, environ)
    demo = folder / _DEMO
    if demo.is_file():
        known = _assignments(demo.read_text("utf-8"))
        if "BROKER_ADMIN_URL" in known and "BROKER_ADMIN_TOKEN" in known:
            click.echo(f"Speaking to the running demo ({_DEMO}).", err=True)
            return AdminClient(known["BROKER_ADMIN_URL"], known["BROKER_ADMIN_TOKEN"])
    missing = "BROKER_ADMIN_TOKEN" if url else "BROKER_ADMIN_URL and BROKER_ADMIN_TOKEN"
    raise UnreachableError(
        f"no broker to speak to: set {missing}, or name a configuration with -c FILE, or run "
        "`broker demo` in this folder"
    )


def _configured(configuration: Path, environ: Mapping[str, str]) -> AdminClient:
    from broker.configuration import load

    admin = load(configuration, environ).admin
    token = admin.token.get_secret_value()
    if admin.address.startswith("unix:"):
        return AdminClient(admin.address, token)
    if admin.tls is None:
        return AdminClient(f"http://{admin.address}", token)
    return AdminClient(f"https://{admin.address}", token, _exactly(admin.tls.certificate, environ))


def _from_environment(environ: Mapping[str, str]) -> ssl.SSLContext | None:
    """BROKER_ADMIN_CA and the certificate we show; None: neither was named."""
    ca = environ.get("BROKER_ADMIN_CA")
    if not ca and not environ.get("BROKER_ADMIN_CERTIFICATE"):
        return None
    import ssl

    try:
        return _showing(ssl.create_default_context(cafile=ca or None), environ)
    except (OSError, ssl.SSLError) as error:
        raise Refused(f"BROKER_ADMIN_CA cannot be used: {error}") from None


def _exactly(certificate: Path, environ: Mapping[str, str]) -> ssl.SSLContext:
    """Trusts that very certificate, which stands in our own configuration, whatever its name."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    end = "-----END CERTIFICATE-----"
    leaf = certificate.read_text("ascii", "replace").partition(end)[0]
    try:
        context.load_verify_locations(cadata=f"{leaf}{end}\n")
    except (ssl.SSLError, ValueError) as error:
        raise Refused(f"{certificate} cannot be used: {error}") from None
    return _showing(context, environ)


def _showing(context: ssl.SSLContext, environ: Mapping[str, str]) -> ssl.SSLContext:
    """With the certificate of BROKER_ADMIN_CERTIFICATE and BROKER_ADMIN_KEY, if there is one."""
    certificate = environ.get("BROKER_ADMIN_CERTIFICATE")
    if certificate:
        try:
            context.load_cert_chain(certificate, environ.get("BROKER_ADMIN_KEY") or None)
        except OSError as error:  # ssl.SSLError is one
            raise Refused(f"BROKER_ADMIN_CERTIFICATE cannot be used: {error}") from None
    return context


def _assignments(text: str) -> dict[str, str]:
    pairs = (line.removeprefix("export ").partition("=") for line in text.splitlines())
    return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs if value}


def api_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``-c`` and ``--json`` for a command; it is called with ``api`` and ``as_json``."""
    from functools import wraps

    @click.option(
        "-c",
        "--config",
        "configuration",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Find the broker by this configuration.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Write the API's answer as JSON.")
    @wraps(function)
    def command(configuration: Path | None, **arguments: Any) -> Any:
        api = find_api(configuration, os.environ, Path.cwd())
        return function(api=api, **arguments)

    return command
