"""Test scores of classifiers, each with what every test image contributes to it."""

from __future__ import annotations

import numpy as np

from latentpath.audit.statistics.sampling_error import (
    Part,
    SampledScore,
    count_people,
    mean_of,
    placement,
    scaled_influence,
    share_of,
)
from latentpath.audit.utility.predictions import Predictions


def accuracy_score(predictions: Predictions) -> SampledScore:
    """Share of the test images that are classified rightly."""
    everything = np.ones(len(predictions.labels), dtype=bool)
    return mean_of(
        [share_of(predictions.correct, everything, predictions.people)], predictions.people
    )


def balanced_accuracy_score(predictions: Predictions) -> SampledScore:
    """Mean over the classes in the test set of their recalls."""
    labels = np.unique(predictions.labels)
    return mean_of([_recall(predictions, label) for label in labels], predictions.people)


def recall_score(predictions: Predictions, label: int) -> SampledScore | None:
    """Share of a class's test images that are classified rightly; None without any."""
    if not (predictions.labels == label).any():
        return None
    return mean_of([_recall(predictions, label)], predictions.people)


def auc_score(predictions: Predictions) -> SampledScore | None:
    """Area under the ROC curve: of two classes, or the mean of each class against the others.

    Classes without test images, or without test images of any other class, are left out; None
    where none is left. Ties count half.
    """
    classes = len(predictions.class_names)
    areas = [class_auc(predictions, label) for label in (range(classes) if classes > 2 else [1])]
    parts = [area for area in areas if area is not None] if classes > 1 else []
    return mean_of(parts, predictions.people) if parts else None


def class_auc(predictions: Predictions, label: int) -> Part | None:
    """Area under the ROC curve of one class against all others; None where one side is empty."""
    positive = predictions.labels == label
    if positive.all() or not positive.any():
        return None
    scores = predictions.log_odds(label)  # [S, n]
    values, influence = np.empty(len(scores)), np.empty(scores.shape)
    people = predictions.people
    for seed, row in enumerate(scores):
        above = placement(row[positive], row[~positive])  # share of the negatives below
        below = 1 - placement(row[~positive], row[positive])  # share of the positives above
        values[seed] = area = above.mean()
        influence[seed, positive] = scaled_influence(above - area, people[positive])
        influence[seed, ~positive] = scaled_influence(below - area, people[~positive])
    return Part(
        values, influence, min(count_people(people[positive]), count_people(people[~positive]))
    )


def _recall(predictions: Predictions, label: int) -> Part:
    return share_of(predictions.correct, predictions.labels == label, predictions.people)
