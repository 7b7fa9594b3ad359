"""Checks on directory, sessions and ledger."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from broker.configuration.faults import nearest
from broker.errors import ConfigurationError
from broker.ledger.connections import Address
from broker.site.tokens import KeyRing

if TYPE_CHECKING:
    from broker.configuration.draft import Draft, Found


LONGEST_DELAY = 30.0
"""Seconds a login may be slowed down: whoever waits longer believes that it is broken."""


def directory(draft: Draft) -> Found:
    directory = draft.directory
    if directory is None:
        return
    for index, server in enumerate(directory.servers):
        at = ("directory", "servers", index)
        if server.startswith("ldap://") and not directory.start_tls and not directory.clear_text:
            yield at, "would send passwords in clear text: use ldaps:// or start_tls: true"
        if server.startswith("ldaps://") and directory.start_tls:
            yield at, "ldaps:// is TLS from the start; start_tls is for ldap://"
    if "{username}" not in directory.user_filter:
        yield ("directory", "user_filter"), "should hold {username}"
    if directory.user_dn is not None and "{username}" not in directory.user_dn:
        yield ("directory", "user_dn"), "should hold {username}"
    if directory.password_change != "none" and not directory.bind_dn:
        yield ("directory", "password_change"), "needs directory.bind_dn"
    if directory.password_change == "active_directory" and directory.clear_text:
        yield ("directory", "password_change"), "is done over TLS only: not with clear_text: true"
    if (
        directory.nested_groups == "recursive"
        and directory.group_attribute is None
        and directory.group_base is None
    ):
        yield ("directory", "nested_groups"), "needs group_attribute or group_base to follow groups"
    if directory.group_base is not None and "{dn}" not in directory.group_filter:
        yield ("directory", "group_filter"), "should hold {dn}"
    if directory.bind_dn and directory.bind_password is None:
        yield ("directory", "bind_dn"), "needs directory.bind_password"
    if directory.bind_password is not None and not directory.bind_dn:
        yield ("directory", "bind_password"), "needs directory.bind_dn"
    for key in ("connect_timeout", "receive_timeout", "deadline"):
        if getattr(directory, key) <= 0:
            yield ("directory", key), "should be above 0"


def sessions(draft: Draft) -> Found:
    sessions = draft.sessions
    if sessions is None:
        return
    if not sessions.token_refresh < sessions.token_lifetime:
        yield ("sessions", "token_refresh"), "should be below sessions.token_lifetime"
    if sessions.token_lifetime > sessions.lifetime:
        yield ("sessions", "token_lifetime"), "should not be above sessions.lifetime"
    if sessions.reread <= 0:
        yield ("sessions", "reread"), "should be above 0"
    try:
        KeyRing.from_json(sessions.keys.get_secret_value())
    except ConfigurationError:
        yield ("sessions", "keys"), "should be a key ring as `broker keys generate` prints it"


def bans(draft: Draft) -> Found:
    if draft.bans is None:
        return
    for key in ("window", "duration"):
        if getattr(draft.bans, key) <= 0:
            yield ("bans", key), "should be above 0"
    if draft.bans.slowest >= LONGEST_DELAY:
        yield ("bans", "slowest"), f"should be below {LONGEST_DELAY:g} s: browsers wait meanwhile"


def second_factor(draft: Draft) -> Found:
    factor = draft.second_factor
    if factor is None:
        return
    for index, name in enumerate(factor.populations):
        if name not in draft.population_names:
            offer = nearest(name, draft.population_names)
            yield ("second_factor", "populations", index), f"there is no population {name}{offer}"
    if factor.window <= 0:
        yield ("second_factor", "window"), "should be above 0"
    if draft.sessions is None or not (factor.populations or factor.groups):
        return
    with contextlib.suppress(ConfigurationError):  # which is told where it belongs
        if not KeyRing.from_json(draft.sessions.keys.get_secret_value()).factors:
            yield (
                ("sessions", "keys"),
                "has no key for second factors: `broker keys rotate` adds one, before second_factor"
                " is set",
            )


def ledger(draft: Draft) -> Found:
    if draft.ledger is None:
        return
    try:
        Address.read(draft.ledger.url.get_secret_value())
    except ConfigurationError as error:
        yield ("ledger", "url"), error.reason
    if draft.ledger.deadline <= 0:
        yield ("ledger", "deadline"), "should be above 0"
