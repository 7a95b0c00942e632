"""Basics: atomic writing, locks, cache folder, memory and threads, signals, units, parameters, printable text."""
