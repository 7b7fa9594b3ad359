"""Employees' pages: login, hand-over to the applications, waiting, my session."""
