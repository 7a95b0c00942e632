"""Soft filters: operations, methods that make them soft, iteration and stopping."""
