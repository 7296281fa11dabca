"""The losses of TRL's own trainers on given rows of logits, with their gradients.

usage: trl_losses.py FILE
FILE holds {"imitate": [...], "prefer": [...], "push": [...], "groups": [...]}. A group is a list of returns, for
which their advantages are printed. Any other case has `logits`, a row, and `token`; of prefer
`rival`, `beta` and the reference log-probabilities `reference` of both; of push `advantage`, `old`, `clip`
and `kl`. Prints for each kind a list of {"loss", "gradient"}, in f64.

Of prefer and push the trainers' `_compute_loss` is called unbound, with a stand-in for the trainer and one for
the model that gives log-probabilities of our logits; imitate is TRL's log-probability of the token. Every
formula is TRL's.
"""

import inspect
import json
import sys
import textwrap
from collections import defaultdict
from types import SimpleNamespace

import torch
from trl.trainer import grpo_trainer
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import selective_log_softmax

ACCELERATOR = SimpleNamespace(
    device="cpu",
    num_processes=1,
    gather=lambda x: x,
    gather_for_metrics=lambda x: x,
    reduce=lambda x, reduction: x,
)
EVALUATING = SimpleNamespace(training=False)


def rows(case, tokens):
    """The row of logits, and log-probabilities of `tokens` in it as `[len(tokens), 1]`."""
    logits = torch.tensor(case["logits"], dtype=torch.float64, requires_grad=True)
    log_probs = logits.log_softmax(-1)[torch.tensor(tokens)]
    return logits, log_probs.unsqueeze(1)


def answer(logits, loss):
    loss.backward()
    return {"loss": loss.item(), "gradient": logits.grad.tolist()}


def imitate(case):
    logits = torch.tensor(case["logits"], dtype=torch.float64, requires_grad=True)
    log_prob = selective_log_softmax(logits.unsqueeze(0), torch.tensor([case["token"]]))
    return answer(logits, -log_prob.squeeze())


def prefer(case):
    tokens = [case["token"], case["rival"]]
    logits, log_probs = rows(case, tokens)
    nothing = torch.zeros_like(log_probs)
    outputs = SimpleNamespace(
        log_probs=log_probs,
        entropy=nothing,
        mean_logits=nothing,
        is_top1=nothing.bool(),
    )
    chosen, rejected = torch.tensor(case["reference"], dtype=torch.float64)
    trainer = SimpleNamespace(
        model=EVALUATING,
        accelerator=ACCELERATOR,
        aux_loss_enabled=False,
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=["sigmoid"],
        loss_weights=[1.0],
        beta=case["beta"],
        use_weighting=False,
        label_smoothing=0.0,
        _metrics={"eval": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
    )
    # One token of prompt, one of completion; chosen first, then rejected.
    inputs = {
        "input_ids": torch.tensor([[0, token] for token in tokens]),
        "attention_mask": torch.ones(2, 2, dtype=torch.long),
        "completion_mask": torch.tensor([[0, 1], [0, 1]]),
        "ref_chosen_logps": chosen.reshape(1),
        "ref_rejected_logps": rejected.reshape(1),
    }
    loss = DPOTrainer._compute_loss(trainer, lambda **_: outputs, inputs, False)
    return answer(logits, loss)


def push(case):
    logits, log_probs = rows(case, [case["token"]])
    old = torch.tensor([[case["old"]]], dtype=torch.float64)
    trainer = SimpleNamespace(
        model=EVALUATING,
        accelerator=ACCELERATOR,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None),
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level="token",
        beta=case["kl"],
        loss_type="grpo",
        epsilon_low=case["clip"],
        epsilon_high=case["clip"],
        use_vllm=False,
        vllm_importance_sampling_correction=False,
        _entropy_bonus_enabled=False,
        _metrics={"eval": defaultdict(list)},
        _get_per_token_logps_and_entropies=lambda *_, **__: (
            log_probs,
            torch.zeros_like(log_probs),
            None,
        ),
    )
    inputs = {
        "prompt_ids": torch.zeros(1, 1, dtype=torch.long),
        "prompt_mask": torch.ones(1, 1, dtype=torch.long),
        "completion_ids": torch.tensor([[case["token"]]]),
        "completion_mask": torch.ones(1, 1, dtype=torch.long),
        "advantages": torch.tensor([case["advantage"]], dtype=torch.float64),
        "old_per_token_logps": old,
        # The policy that drew the token is the reference too.
        "ref_per_token_logps": old,
    }
    return answer(logits, GRPOTrainer._compute_loss(trainer, None, inputs))


def group(returns):
    """The trainer finds advantages in the middle of a long method, whose lines are run here."""
    source = inspect.getsource(GRPOTrainer._generate_and_score_completions)
    start = source.index("        if self.multi_objective_aggregation ==")
    end = source.index("        # Slice to keep only the local part")
    rewards = torch.tensor(returns, dtype=torch.float64).unsqueeze(1)
    trainer = SimpleNamespace(
        multi_objective_aggregation="sum_then_normalize",
        scale_rewards="group",
        reward_weights=torch.ones(1, dtype=torch.float64),
    )
    given = {
        "self": trainer,
        "rewards_per_func": rewards,
        "unscorable_mask": torch.zeros(len(returns), dtype=torch.bool),
        "num_generations": len(returns),
        "device": "cpu",
    }
    exec(textwrap.dedent(source[start:end]), vars(grpo_trainer), given)
    return given["advantages"].tolist()


with open(sys.argv[1]) as file:
    cases = json.load(file)
print(
    json.dumps(
        {
            "imitate": [imitate(case) for case in cases["imitate"]],
            "prefer": [prefer(case) for case in cases["prefer"]],
            "push": [push(case) for case in cases["push"]],
            "groups": [group(returns) for returns in cases["groups"]],
        }
    )
)
