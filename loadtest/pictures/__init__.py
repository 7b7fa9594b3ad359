"""Draws every picture of README and RUNBOOK again, from a demo at work."""
