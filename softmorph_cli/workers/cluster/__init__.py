"""Other processes and other machines by Dask: which are there, and an executor on them."""

from softmorph_cli.workers.cluster.cluster import Cluster
from softmorph_cli.workers.cluster.connect import Where, connected

__all__ = ["Cluster", "Where", "connected"]
