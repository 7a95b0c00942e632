"""Compiled programs on a device: a backend for each, behind the protocols of `backend`."""
