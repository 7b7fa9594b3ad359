"""Two sample applications, the feed and the wiki, as a company might run them behind the broker.

They know nothing of the broker but the identity headers it sends (the wiki verifies the signed
assertion, too), and each carries a witness of its own, ``/oracle``, that counts what really
arrives: tests, benchmarks and people trust it rather than the broker's own figures. Started as
``python -m broker.demo.apps feed --port N``; they listen on loopback only.
"""
