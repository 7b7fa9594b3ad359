"""From the configuration to the directory's plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.directory.plan import DirectoryPlan

if TYPE_CHECKING:
    from broker.settings import DirectorySettings


def directory_plan(settings: DirectorySettings) -> DirectoryPlan:
    secret = settings.bind_password
    return DirectoryPlan(
        servers=tuple(settings.servers),
        base=settings.base,
        start_tls=settings.start_tls,
        clear_text=settings.clear_text,
        ca=settings.ca,
        bind_dn=settings.bind_dn,
        bind_password=secret.get_secret_value() if secret else None,
        user_filter=settings.user_filter,
        user_attribute=settings.user_attribute,
        display_attribute=settings.display_attribute,
        group_attribute=settings.group_attribute,
        group_base=settings.group_base,
        group_filter=settings.group_filter,
        disabled_filter=settings.disabled_filter,
        attributes=tuple(settings.attributes),
        connect_timeout=settings.connect_timeout,
        receive_timeout=settings.receive_timeout,
        deadline=settings.deadline,
        threads=settings.threads,
        queue=settings.queue,
    )
