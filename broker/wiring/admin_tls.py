"""TLS of the admin listener: its certificate, and the authorities of its clients'."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from broker.errors import ConfigurationError
from broker.gateway.certificates import VERSIONS, load_certified

if TYPE_CHECKING:
    from broker.settings import AdminTls


def admin_context(tls: AdminTls) -> ssl.SSLContext:
    """Raises ConfigurationError for files that cannot be used."""
    context = load_certified(tls.certificate, tls.key).context
    context.minimum_version = VERSIONS[tls.minimum]
    if tls.client_ca is not None:
        try:
            context.load_verify_locations(tls.client_ca)
        except (OSError, ssl.SSLError) as error:
            text = f"{tls.client_ca}: no certificates can be read from it"
            raise ConfigurationError(f"certificate cannot be used: {text}", (text,)) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def renew(context: ssl.SSLContext, tls: AdminTls) -> None:
    """The certificate as it is now, from the next handshake on; authorities and lowest version are
    those of the start, because a context that trusts somebody cannot forget it again. Raises
    ConfigurationError, and then nothing has changed."""
    load_certified(tls.certificate, tls.key)
    context.load_cert_chain(tls.certificate, tls.key)
