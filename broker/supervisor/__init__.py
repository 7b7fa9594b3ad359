"""Processes and sockets of one host: starts them, keeps them, ends them."""
