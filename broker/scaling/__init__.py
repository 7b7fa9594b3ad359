"""How far one pool scales: the Universal Scalability Law, fitted to a measured step load.

``law.py`` is the law, ``fit.py`` the only place that knows numpy and scipy (extra ``capacity``),
``answer.py`` decides whether the data carry an answer, ``words.py`` says it. No network, no clock.
"""
