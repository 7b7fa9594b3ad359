"""The book of limits, seats, grants, tickets and revocations, in Redis."""
