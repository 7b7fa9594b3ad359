"""What a run leaves behind: ``report.json`` for programs, ``report.html`` for people.

``model.py`` says what a run is, whoever made it: Locust against a broker, or the simulation.
``writing.write`` puts it into a folder of its own and points ``latest`` at it. Nothing here knows
where the figures come from.
"""
