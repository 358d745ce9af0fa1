"""Statistics of per-task losses: location, intervals, paired comparisons, ranks. Reads arrays, nothing else."""

from benchmarks.statistics.intervals import HELD_TAIL_LIMIT, LEVEL, TAIL_LIMIT, mean_interval, tail_limited
from benchmarks.statistics.paired import Comparison, compare, log_ratio, log_ratio_interval, log_ratio_p_value
from benchmarks.statistics.ranks import Ranking, letters, rank_solvers, shared_ranks, tie_groups
from benchmarks.statistics.seed_levels import Levels, two_level, two_level_interval
from benchmarks.statistics.significance import (
    equal_means_bound,
    equal_means_test,
    holm,
    sign_flip_test,
    wilcoxon_log_test,
)
from benchmarks.statistics.student import Interval, mean_interval_of_few, power_law_interval, student_interval
from benchmarks.statistics.summary import TRIM, Summary, summarise
from benchmarks.statistics.weighted import thinned

__all__ = [
    "HELD_TAIL_LIMIT",
    "LEVEL",
    "TAIL_LIMIT",
    "TRIM",
    "Comparison",
    "Interval",
    "Levels",
    "Ranking",
    "Summary",
    "compare",
    "equal_means_bound",
    "equal_means_test",
    "holm",
    "letters",
    "log_ratio",
    "log_ratio_interval",
    "log_ratio_p_value",
    "mean_interval",
    "mean_interval_of_few",
    "power_law_interval",
    "rank_solvers",
    "shared_ranks",
    "sign_flip_test",
    "student_interval",
    "summarise",
    "tail_limited",
    "thinned",
    "tie_groups",
    "two_level",
    "two_level_interval",
    "wilcoxon_log_test",
]
