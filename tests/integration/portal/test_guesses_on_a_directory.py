"""Bans count on the name that the directory has, whatever was typed: with real LDAP servers."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from broker.demo.employees import BASE_DN, PASSWORD, SERVICE_DN, SERVICE_PASSWORD
from broker.directory.ldap_directory import LdapDirectory
from broker.directory.plan import DirectoryPlan
from broker.policy.guessing import GuessRules
from tests.support.portal_site import HOME, Browser, PortalSite

if TYPE_CHECKING:
    from tests.integration.conftest import Authority
    from tests.support.ldaptor_server import LdaptorServer
    from tests.support.portal_ledger import PortalLedger
    from tests.support.slapd_server import SlapdServer

LOGIN = f"{HOME}/.broker/login"


async def test_aliases_and_spellings_are_one_name(
    ledger: PortalLedger, ldap_server: LdaptorServer | SlapdServer, authority: Authority
) -> None:
    plan = DirectoryPlan(
        servers=(f"ldaps://localhost:{ldap_server.ldaps_port}",),
        base=BASE_DN,
        ca=authority.ca,
        bind_dn=SERVICE_DN,
        bind_password=SERVICE_PASSWORD,
        deadline=20.0,
    )
    directory = LdapDirectory(plan, time.monotonic)
    try:
        async with PortalSite(ledger, guesses=GuessRules(per_pair=3)) as site:
            await site.portal.replace(site.plan, directory)
            browser = Browser(site)
            form = await browser.get(LOGIN)
            statuses = [
                (await browser.fill_in(form, name, "guess")).status
                for name in ("two.names", "ALIAS.name", " Two.Names ", "alias.name")
            ]
            assert statuses == [401, 401, 401, 429]
            (ban,) = await ledger.bans()
            assert (ban.employee, ban.where) == ("alias.name", site.address)
            assert (await browser.fill_in(form, "mixed.case", PASSWORD)).status == 303
            statuses = [
                (await browser.fill_in(form, name, "guess")).status
                for name in ("nobody.at.all", "NOBODY.at.all", " nobody.AT.all", "nobody.at.all")
            ]
            assert statuses == [401, 401, 401, 429], "a name that nobody has is no different"
    finally:
        await directory.close()


async def test_spellings_that_a_directory_takes_for_one_are_one_name(
    ledger: PortalLedger, ldap_server: LdaptorServer | SlapdServer, authority: Authority
) -> None:
    """Directories compare by RFC 4518: compatible letters and repeated blanks are the same. If such
    spellings had counts of their own, a name that is bound to directly could be guessed once more
    in each, and with a search before they would tell which names there are."""
    spellings = ("mixed.case", "\uff4dixed.case", "mixed.\uff43ase", "\uff2dixed.case")
    strangers = ("no  body", "no body", "\uff4eo\u2003body", "NO BODY")
    plan = DirectoryPlan(
        servers=(f"ldaps://localhost:{ldap_server.ldaps_port}",),
        base=BASE_DN,
        ca=authority.ca,
        bind_dn=SERVICE_DN,
        bind_password=SERVICE_PASSWORD,
        deadline=20.0,
    )
    for user_dn in (None, f"uid={{username}},{BASE_DN}"):
        directory = LdapDirectory(replace(plan, user_dn=user_dn), time.monotonic)
        try:
            async with PortalSite(ledger, guesses=GuessRules(per_pair=3)) as site:
                await site.portal.replace(site.plan, directory)
                browser = Browser(site)
                form = await browser.get(LOGIN)
                for names in (spellings, strangers) if user_dn else (strangers,):
                    statuses = [
                        (await browser.fill_in(form, name, "guess")).status for name in names
                    ]
                    assert statuses == [401, 401, 401, 429], (user_dn, names)
        finally:
            await directory.close()
        await ledger.clear_bans()
