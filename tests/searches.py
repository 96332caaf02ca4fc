"""Searches that were never run, for tests of what is made of them; and a registry of few to search."""

import numpy as np

from genreray import models, space
from genreray.models import Family
from genreray.search_report import SearchReport
from genreray.trials import Trial, TrialStatus


def epoch(number: int, loss: float, accuracy: float) -> dict:
    """An epoch as train writes it."""
    return {
        "epoch": number,
        "training_loss": loss - 0.1,
        "training_accuracy": accuracy + 0.05,
        "validation_loss": loss + 0.1,
        "validation_accuracy": accuracy,
        "validation_macro_f1": accuracy - 0.02,
        "calibrated_loss": loss,
        "temperature": 1.5,
        "calibration_error_before": 0.2,
        "calibration_error_after": 0.1,
        "seconds": 2.0,
    }


def made_up(n: int = 24, model: str = "mel_cnn", metric: str = "calibrated_loss", epochs: int = 12) -> SearchReport:
    """A search that begins with the default; the learning rate matters most, and some trials fail or are stopped."""
    family = models.family(model)
    generator = np.random.default_rng(3)
    points = [space.defaults(family, family.space), *(space.draw(family.space, generator) for _ in range(n - 1))]
    trials = []
    for i, point in enumerate(points):
        rate = abs(np.log10(point["learning_rate"]) + 2.7)
        floor = 0.8 + 0.5 * rate**2 + 0.5 * point["dropout"] ** 2 + 0.05 * generator.normal()
        stopped = i > 2 and (floor > 1.2 or i % 3 == 0)
        length = (3 if i % 2 else 1) if stopped else epochs
        history = [
            epoch(k, floor + 1.4 * 0.75**k + 0.02 * generator.normal(), max(0.05, 0.9 - 0.3 * floor - 0.5 * 0.8**k))
            for k in range(1, length + 1)
        ]
        status, error = (TrialStatus.STOPPED if stopped else TrialStatus.FINISHED), None
        if i in (7, 15):
            status, error = TrialStatus.FAILED, f"the loss was not a finite number in epoch {i - 5}"
            history = history[: i - 6]
        trials.append(
            Trial(
                trial_id=f"{i:03d}",
                model=model,
                config=point,
                status=status,
                history=history,
                seconds=9.0 + 3.1 * len(history),
                error=error,
            )
        )
    return SearchReport(
        model=model,
        features="/data/features",
        split_method="artist-disjoint stratified 80/10/10",
        metric=metric,
        space=family.space,
        trials=trials,
        epochs=epochs,
        algorithm="TPE (Optuna), ASHA stopping",
        default_id="000",
        created="2026-11-23",
        versions={"genreray": "0.1.0", "optuna": "5.0.0"},
    )


def left_with(*names: str) -> dict[str, Family]:
    """Return the registry in which these architectures alone have settings to search."""
    return {name: family if name in names else family._replace(space={}) for name, family in models.MODELS.items()}
