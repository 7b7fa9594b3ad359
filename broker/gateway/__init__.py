"""The data path: browsers on one side, the servers of the pools on the other. See ``journey``."""
