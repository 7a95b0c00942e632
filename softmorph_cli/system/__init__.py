"""What the system gives: files that are whole, locks, a cache, memory, signals, units, text."""
