"""The public functions: NumPy arrays, torch tensors, `Volume`s or paths in, arrays, volumes or typed results out."""

__all__ = ["analysis", "filters", "images", "repairs"]
