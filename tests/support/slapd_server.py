"""A real OpenLDAP slapd for tests: own process, own data, free ports of the loopback interface.

``installed`` says whether Debian's slapd is there. Nothing of the system's own slapd is touched.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

from broker.demo.employees import BASE_DN, SERVICE_DN

SLAPD = shutil.which("slapd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
SLAPADD = shutil.which("slapadd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
SCHEMA = Path("/etc/ldap/schema")
START_LIMIT = 20.0

CONFIGURATION = """
include {schema}/core.schema
include {schema}/cosine.schema
include {schema}/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload ppolicy
pidfile {directory}/slapd.pid
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
TLSProtocolMin 3.3
idletimeout {idle_timeout}

database mdb
suffix "{base}"
directory {directory}/data
maxsize 268435456
dbnosync
index objectClass,uid,mail,member,memberOf eq
overlay memberof
{policies}
limits dn.exact="{service}" size.soft=100 size.prtotal=unlimited
access to attrs=userPassword {writers} by anonymous auth by * none
access to * by dn.exact="{service}" read by self read by * auth
"""


POLICIES_DN = f"ou=policies,{BASE_DN}"
DEFAULT_POLICY_DN = f"cn=default,{POLICIES_DN}"
POLICIES = """
overlay ppolicy
ppolicy_default "{default}"
ppolicy_use_lockout
"""


def installed() -> bool:
    return SLAPD is not None and SLAPADD is not None and SCHEMA.is_dir()


class SlapdServer:
    """Loaded once, started and stopped as often as needed, on the same two ports."""

    def __init__(
        self,
        directory: Path,
        ldif: bytes,
        certificate: Path,
        key: Path,
        idle_timeout: int = 0,
        *,
        policies: bool = False,
        service_may_write: bool = False,
    ) -> None:
        """``policies``: the password-policy overlay, with what ``LDIF`` has below POLICIES_DN.
        ``service_may_write``: the service account may change passwords."""
        self._directory = directory
        (directory / "data").mkdir()
        self._file = directory / "slapd.conf"
        self._file.write_text(
            CONFIGURATION.format(
                schema=SCHEMA,
                directory=directory,
                certificate=certificate,
                key=key,
                base=BASE_DN,
                service=SERVICE_DN,
                idle_timeout=idle_timeout,
                policies=POLICIES.format(default=DEFAULT_POLICY_DN) if policies else "",
                writers=("by self write" if policies else "")
                + (f' by dn.exact="{SERVICE_DN}" write' if service_may_write else ""),
            )
        )
        (directory / "people.ldif").write_bytes(ldif)
        assert SLAPADD is not None
        subprocess.run(
            [SLAPADD, "-q", "-f", self._file, "-l", directory / "people.ldif"],
            check=True,
            capture_output=True,
        )
        self.ldap_port, self.ldaps_port = _free_ports()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert SLAPD is not None
        urls = f"ldap://127.0.0.1:{self.ldap_port} ldaps://127.0.0.1:{self.ldaps_port}"
        with (self._directory / "slapd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [SLAPD, "-h", urls, "-f", self._file, "-d", "0"], stdout=log, stderr=log
            )
        end = time.monotonic() + START_LIMIT
        for port in (self.ldap_port, self.ldaps_port):
            while not _answers(port):
                if self._process.poll() is not None or time.monotonic() > end:
                    self.stop()
                    log_text = (self._directory / "slapd.log").read_text(errors="replace")
                    raise RuntimeError(f"slapd did not start:\n{log_text}")
                time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _free_ports() -> tuple[int, int]:
    """Two ports that were free a moment ago: slapd cannot tell which one it was given for 0."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
