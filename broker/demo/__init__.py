"""The demo: the whole system on loopback, with nothing else installed.

An embedded Redis, a real LDAP server with an invented company, two sample applications with a
witness of their own, the broker in front of them, and employees who arrive. Nothing outside the
command line and the tests imports it.
"""
