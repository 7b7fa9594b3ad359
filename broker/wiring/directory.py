"""From the configuration to the directory's plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.directory.plan import DirectoryPlan

if TYPE_CHECKING:
    from broker.settings import Settings


def directory_plan(whole: Settings) -> DirectoryPlan:
    settings = whole.directory
    secret = settings.bind_password
    return DirectoryPlan(
        servers=tuple(settings.servers),
        base=settings.base,
        start_tls=settings.start_tls,
        clear_text=settings.clear_text,
        ca=settings.ca,
        bind_dn=settings.bind_dn,
        bind_password=secret.get_secret_value() if secret else None,
        user_dn=settings.user_dn,
        user_filter=settings.user_filter,
        user_attribute=settings.user_attribute,
        display_attribute=settings.display_attribute,
        group_attribute=settings.group_attribute,
        group_base=settings.group_base,
        group_filter=settings.group_filter,
        nested_groups=settings.nested_groups,
        primary_group=settings.primary_group,
        disabled_filter=settings.disabled_filter,
        password_change=settings.password_change,
        tls_minimum=settings.tls_minimum,
        filters=tuple(
            dict.fromkeys(each.filter for each in whole.populations if each.filter is not None)
        ),
        attributes=tuple(settings.attributes),
        connect_timeout=settings.connect_timeout,
        receive_timeout=settings.receive_timeout,
        deadline=settings.deadline,
        threads=settings.threads,
        queue=settings.queue,
    )
