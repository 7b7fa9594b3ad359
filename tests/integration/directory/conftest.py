"""How these tests make a directory and tell its plan."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from broker.demo.employees import BASE_DN, DISABLED_FILTER, SERVICE_DN, SERVICE_PASSWORD
from broker.directory.ldap_directory import LdapDirectory
from broker.directory.plan import DirectoryPlan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.integration.conftest import Authority
    from tests.support.ldaptor_server import LdaptorServer
    from tests.support.slapd_server import SlapdServer


@pytest.fixture
def plan(ldap_server: LdaptorServer | SlapdServer, authority: Authority) -> DirectoryPlan:
    """LDAPS to the server under test, as the demo is configured."""
    return DirectoryPlan(
        servers=(f"ldaps://localhost:{ldap_server.ldaps_port}",),
        base=BASE_DN,
        ca=authority.ca,
        bind_dn=SERVICE_DN,
        bind_password=SERVICE_PASSWORD,
        disabled_filter=DISABLED_FILTER,
        attributes=("c", "departmentNumber"),
        threads=2,
        queue=4,
    )


@pytest.fixture
async def make(plan: DirectoryPlan) -> AsyncIterator[Callable[..., LdapDirectory]]:
    """``make(threads=1, ...)``: a directory by the plan with some fields changed; closed at the
    end."""
    made: list[LdapDirectory] = []

    def build(**changes: object) -> LdapDirectory:
        made.append(LdapDirectory(replace(plan, **changes), time.monotonic))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for directory in made:
        await directory.close()


@pytest.fixture
def directory(make: Callable[..., LdapDirectory]) -> LdapDirectory:
    return make()
