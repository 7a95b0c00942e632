"""How fast the filters are on this machine: drawn maps, what is measured on them, the clock, the memory."""
