"""Other processes and other machines by Dask: who is there, and one piece of work at a time for each of them."""

from softmorph_cli.cluster.cluster import Cluster, Lost
from softmorph_cli.cluster.connect import Where, connected
from softmorph_cli.cluster.worker import Stopped, say, stopped

__all__ = ["Cluster", "Lost", "Stopped", "Where", "connected", "say", "stopped"]
