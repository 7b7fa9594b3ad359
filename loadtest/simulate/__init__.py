"""Simulation at sizes no machine here holds: virtual time, the broker's own policy code.

``python -m loadtest simulate``. Seats, tickets and calls are decided by ``broker.policy.seats`` and
``queueing``, grants by ``grants``, ``grant_book`` and ``worker_book``, a raise by ``levels`` and
``ramp``: what the broker runs, and differential tests keep equal to the Lua in Redis. Invented are
the employees (``people.py``) and the passing of time (``morning.py``); what is only approximated is
said in the report. Everything follows from the seed.
"""
