"""WHAT a filter is: Boolean rules as data. No arrays, no devices."""
