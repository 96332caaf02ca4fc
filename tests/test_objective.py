import numpy as np
import pytest
import torch

from genreray.augment import Mix
from genreray.objective import Objective
from genreray.recipe import TrainingConfig

CPU = torch.device("cpu")
LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.3, 0.1, -2.0], [1.0, 1.5, 0.0]])
LABELS = torch.tensor([0, 2, 1])
COUNTS = torch.tensor([60, 6, 24])


def objective(**settings):
    return Objective.of(TrainingConfig(**settings), COUNTS, CPU)


def by_hand(logits, targets, weights=(1.0, 1.0, 1.0)):
    """The mean over clips of -sum w t log p, in numpy."""
    x = logits.double().numpy()
    log_p = x - np.log(np.exp(x).sum(1, keepdims=True))
    return -(np.array(weights) * np.array(targets) * log_p).sum(1).mean()


def test_the_plain_objective_is_the_cross_entropy():
    assert objective()(LOGITS, LABELS).item() == pytest.approx(by_hand(LOGITS, np.eye(3)[LABELS]))


def test_smoothing_spreads_a_share_of_each_label():
    targets = 0.9 * np.eye(3)[LABELS] + 0.1 / 3
    assert objective(label_smoothing=0.1)(LOGITS, LABELS).item() == pytest.approx(by_hand(LOGITS, targets))


def test_class_weights_are_those_of_the_labels_and_the_mean_is_over_clips():
    weights = (90 / 3) / COUNTS.double().numpy()
    found = objective(class_weights="balanced")(LOGITS, LABELS).item()
    assert found == pytest.approx(by_hand(LOGITS, np.eye(3)[LABELS], weights))


@pytest.mark.parametrize("settings", [{"class_weights": "sqrt"}, {"logit_adjustment": 1.0}])
def test_a_correction_of_imbalance_needs_the_counts(settings):
    with pytest.raises(ValueError, match="need the number of clips of each genre"):
        Objective.of(TrainingConfig(**settings), None, CPU)


def test_mixed_clips_have_mixed_labels():
    mix = Mix(torch.tensor([1, 0, 2]), torch.tensor([0.7, 0.6, 0.9]))
    targets = np.array([[0.7, 0, 0.3], [0.4, 0, 0.6], [0, 1, 0]])
    assert objective(mixup=1.0)(LOGITS, LABELS, mix).item() == pytest.approx(by_hand(LOGITS, targets))
    smooth = objective(mixup=1.0, label_smoothing=0.2, class_weights="balanced")(LOGITS, LABELS, mix).item()
    weights = (90 / 3) / COUNTS.double().numpy()
    assert smooth == pytest.approx(by_hand(LOGITS, 0.8 * targets + 0.2 / 3, weights))


def test_logit_adjustment_learns_what_equal_shares_would_give():
    """Of clips that look alike, 60, 6 and 24: the logits are the shares', or equal once these are taken out."""
    labels = torch.arange(3).repeat_interleave(COUNTS)
    for tau, shares in ((0.0, COUNTS / 90), (1.0, torch.ones(3) / 3)):
        logits = torch.zeros(3, requires_grad=True)
        optimizer = torch.optim.LBFGS([logits], max_iter=100)
        adjusted = objective(logit_adjustment=tau)

        def closure(logits=logits, optimizer=optimizer, adjusted=adjusted):
            optimizer.zero_grad()
            loss = adjusted(logits.expand(90, 3), labels)
            loss.backward()
            return loss

        optimizer.step(closure)
        assert logits.softmax(0).tolist() == pytest.approx(shares.tolist(), abs=1e-3)
