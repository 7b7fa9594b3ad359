"""Use cases that the doors (gateway, portal, admin) share: sessions, seats, grants, sync."""
