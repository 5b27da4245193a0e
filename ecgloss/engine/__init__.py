"""pair_stats: row statistics of the similarity matrix of a batch, on several backends. Knows nothing of ECG."""

from ecgloss.engine.availability import BackendStatus, backends
from ecgloss.engine.dispatch import pair_stats
from ecgloss.engine.stats import PairStats

__all__ = ["BackendStatus", "PairStats", "backends", "pair_stats"]
