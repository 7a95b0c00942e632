"""Programs on a device: one backend a file, all behind the protocols of `backend`."""
