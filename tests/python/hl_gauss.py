"""HL-Gauss as Farebrother et al. (2024) publish it (appendix A), in torch and f64.

usage: hl_gauss.py CASES
CASES is a JSON list of [logits, target, sigma in bins]. Prints [loss, gradient] of each as JSON.
"""

import json
import sys

import torch

out = []
for logits, target, ratio in json.loads(sys.argv[1]):
    logits = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    target = torch.tensor(target, dtype=torch.float64)
    bins = len(logits)
    support = torch.linspace(-1, 1, bins + 1, dtype=torch.float64)
    sigma = ratio * 2 / bins
    root = torch.sqrt(torch.tensor(2.0, dtype=torch.float64))
    cdf = torch.special.erf((support - target.unsqueeze(-1)) / (root * sigma))
    probabilities = (cdf[1:] - cdf[:-1]) / (cdf[-1] - cdf[0])
    loss = torch.nn.functional.cross_entropy(logits, probabilities)
    loss.backward()
    out.append([loss.item(), logits.grad.tolist()])
print(json.dumps(out))
