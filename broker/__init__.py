"""A remote-access capacity and connection broker. Start reading at ``broker/DESIGN.md``."""

__version__ = "0.1.0"
