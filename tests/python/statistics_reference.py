"""Paired tests and intervals of scipy and statsmodels.

usage: statistics_reference.py FILE
FILE holds {"differences": [[...], ...], "counts": [[b, c], ...], "p": [...], "values": [[...], ...],
"right": [[[...], ...], ...]}. Prints for differences the exact p-value of scipy's permutation test, for
counts that of statsmodels' McNemar test, for p Holm's correction, for values Student's interval, and for
`right[case][seed][question]` the 2.5th and 97.5th percentiles of the mean when seeds and questions are
drawn anew, by NumPy.
"""

import json
import sys

import numpy as np
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

with open(sys.argv[1]) as file:
    cases = json.load(file)


def flips(differences):
    found = stats.permutation_test(
        (np.array(differences, dtype=float),),
        lambda x, axis: x.sum(axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    )
    return found.pvalue


def student(values):
    return stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))


def resampled(right):
    rng = np.random.default_rng(1)
    right = np.array(right, dtype=float)
    seeds, questions = right.shape
    draws = 20_000
    of_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), draws)
    of_questions = rng.multinomial(questions, np.full(questions, 1 / questions), draws)
    means = np.einsum("ds,sq,dq->d", of_seeds, right, of_questions) / right.size
    return np.percentile(means, [2.5, 97.5]).tolist()


print(
    json.dumps(
        {
            "differences": [flips(d) for d in cases["differences"]],
            "counts": [
                mcnemar([[0, b], [c, 0]], exact=True).pvalue for b, c in cases["counts"]
            ],
            "holm": multipletests(cases["p"], method="holm")[1].tolist(),
            "values": [list(map(float, student(v))) for v in cases["values"]],
            "right": [resampled(r) for r in cases["right"]],
        }
    )
)
