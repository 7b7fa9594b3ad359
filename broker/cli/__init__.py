"""The command line: every command of ``broker``, each imported only when it runs."""
