"""A real Active Directory for tests: Samba's domain controller in a network namespace of its own.

``missing()`` says in a sentence what keeps it from running here. The outside reaches it on two free
ports of loopback (``samba_inside.py`` carries the bytes). People are added over LDAP, as an
administrator would.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ldap3

if TYPE_CHECKING:
    from collections.abc import Mapping

REALM = "CORP.EXAMPLE"
BASE_DN = "DC=corp,DC=example"
STAFF_DN = f"OU=staff,{BASE_DN}"
GROUPS_DN = f"OU=groups,{BASE_DN}"
ADMINISTRATOR = f"administrator@{REALM.lower()}"
ADMIN_PASSWORD = "Adm1n-of-the-domain"
PACKAGES = "samba samba-ad-provision samba-dsdb-modules samba-vfs-modules winbind"
START_LIMIT = 60.0

NORMAL, DISABLED = 512, 514
"""userAccountControl."""


_LONG_AGO = r"""
import sys
from samba import dsdb
from samba.auth import system_session
from samba.param import LoadParm
from samba.samdb import SamDB

domain, dn = sys.argv[1:]
lp = LoadParm()
lp.load(f"{domain}/etc/smb.conf")
db = SamDB(url=f"{domain}/private/sam.ldb", session_info=system_session(), lp=lp)
db.modify_ldif(
    f"dn: {dn}\nchangetype: modify\nreplace: pwdLastSet\npwdLastSet: 132000000000000000\n",
    controls=[f"local_oid:{dsdb.DSDB_CONTROL_BYPASS_PASSWORD_HASH_OID}:0"],
)
"""


def missing() -> str:
    """Why there can be no domain controller here; empty when there can."""
    if shutil.which("samba") is None or shutil.which("samba-tool") is None:
        return f"Samba is not installed (Debian: apt-get install {PACKAGES})"
    if os.geteuid() != 0:
        return "Samba's ports are fixed: only root can give it a network namespace of its own"
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return "ip (iproute2) or unshare (util-linux) is missing"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "this machine allows no network namespaces"


class SambaServer:
    """Provisioned once, running until ``stop``."""

    def __init__(self, directory: Path, certificate: Path, key: Path, ca: Path) -> None:
        self._ca = ca
        self._log = directory / "samba.log"
        domain = self._domain = directory / "domain"
        subprocess.run(
            ["samba-tool", "domain", "provision", f"--realm={REALM}", "--domain=CORP",
             "--host-name=dc1", f"--adminpass={ADMIN_PASSWORD}", "--server-role=dc",
             "--dns-backend=NONE", f"--targetdir={domain}"],
            check=True, capture_output=True,
        )  # fmt: skip
        file = domain / "etc" / "smb.conf"
        lines = [line for line in file.read_text().splitlines() if "server services" not in line]
        at = lines.index("[global]") + 1
        key.chmod(0o600)  # Samba reads no key that others could read
        lines[at:at] = [
            "server services = ldap cldap kdc",
            "interfaces = lo",
            "bind interfaces only = yes",
            f"log file = {directory / 'log.%m'}",
            f"pid directory = {directory}",
            f"ncalrpc dir = {directory / 'ncalrpc'}",
            f"tls certfile = {certificate}",
            f"tls keyfile = {key}",
            f"tls cafile = {ca}",
        ]
        file.write_text("\n".join(lines) + "\n")
        listening = [socket.create_server(("127.0.0.1", 0), backlog=128) for _ in range(2)]
        self.ldaps_port, self.ldap_port = (sock.getsockname()[1] for sock in listening)
        fds = [sock.fileno() for sock in listening]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["unshare", "--net", "--pid", "--fork", "--kill-child", sys.executable,
                 Path(__file__).with_name("samba_inside.py"), domain, *map(str, fds)],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, pass_fds=fds,
            )  # fmt: skip
        for sock in listening:
            sock.close()
        self._until_it_answers()

    def administrator(self) -> ldap3.Connection:
        """A connection that may change everything."""
        tls = ldap3.Tls(
            validate=ssl.CERT_REQUIRED,
            version=ssl.PROTOCOL_TLS_CLIENT,
            ca_certs_file=str(self._ca),
        )
        server = ldap3.Server(
            "localhost", self.ldaps_port, use_ssl=True, tls=tls, get_info=ldap3.NONE
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # ldap3 uses ssl.match_hostname
            return ldap3.Connection(
                server, ADMINISTRATOR, ADMIN_PASSWORD, auto_bind=True, raise_exceptions=True
            )

    def set_long_ago(self, dn: str) -> None:
        """Make a password one of 2019, which no administrator could do over LDAP: in the
        controller's own database, with its own Python."""
        subprocess.run(
            ["/usr/bin/python3", "-c", _LONG_AGO, self._domain, dn], check=True, capture_output=True
        )

    def stop(self) -> None:
        self._process.kill()  # its children go with it
        self._process.wait()

    def _until_it_answers(self) -> None:
        end = time.monotonic() + START_LIMIT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                told = self._log.read_text(errors="replace")
                raise RuntimeError(f"Samba did not start:\n{told}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        context = ssl.create_default_context(cafile=self._ca)
        try:
            with socket.create_connection(("localhost", self.ldaps_port), timeout=5) as sock:
                context.wrap_socket(sock, server_hostname="localhost").close()
        except OSError:
            return False
        return True


def add_person(
    connection: Any,
    name: str,
    dn: str,
    password: str,
    *,
    control: int = NORMAL,
    more: Mapping[str, Any] | None = None,
) -> None:
    """``name`` is the sAMAccountName."""
    connection.add(
        dn,
        ["top", "person", "organizationalPerson", "user"],
        {
            "sAMAccountName": name,
            "displayName": f"Called {name}",
            "unicodePwd": f'"{password}"'.encode("utf-16-le"),
            "userAccountControl": control,
            **(more or {}),
        },
    )


def add_group(connection: Any, name: str, dn: str, *members: str) -> None:
    attributes: dict[str, Any] = {"sAMAccountName": name}
    if members:
        attributes["member"] = list(members)
    connection.add(dn, ["top", "group"], attributes)
