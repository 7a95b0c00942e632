"""WHAT a user runs: borders, iteration, stopping, and the choice of a method."""
