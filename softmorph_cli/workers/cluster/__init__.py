"""An executor that runs items on the workers of a Dask cluster, on this machine or on several machines."""

from softmorph_cli.workers.cluster.cluster import Cluster
from softmorph_cli.workers.cluster.connect import ClusterOptions, connected

__all__ = ["Cluster", "ClusterOptions", "connected"]
