import json

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from genreray.metrics import Scores, evaluate, macro_f1

GENRES = ["Blues", "Electronic", "Folk", "Jazz", "Rock"]


def random_case(n, n_classes=5, seed=0, dtype=np.float64):
    """Return probabilities and labels that agree often but not always, with unequal classes."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(n_classes, n, p=np.arange(1, n_classes + 1) / np.arange(1, n_classes + 1).sum())
    logits = rng.normal(size=(n, n_classes))
    logits[np.arange(n), labels] += 1
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probabilities.astype(dtype), labels


def certain(predictions, n_classes=5):
    return np.eye(n_classes)[predictions]


def perfect():
    labels = np.array([0, 1, 2, 3, 4, 4, 4])
    return certain(labels), labels


def all_wrong():
    labels = np.array([0, 1, 2, 3, 4, 4, 4])
    return certain((labels + 1) % 5), labels


def a_genre_without_tracks():
    probabilities, labels = random_case(300, seed=4)
    return probabilities[labels != 2], labels[labels != 2]  # still predicted


def a_genre_neither_true_nor_predicted():
    return certain(np.array([0, 0, 1, 3])), np.array([0, 1, 1, 3])


def one_genre_alone():
    return certain(np.array([4, 4, 4])), np.array([4, 4, 4])


def one_track():
    return np.array([[0.1, 0.2, 0.4, 0.2, 0.1]]), np.array([1])


CASES = {
    "random": random_case(500),
    "float32": random_case(500, seed=1, dtype=np.float32),
    "perfect": perfect(),
    "all wrong": all_wrong(),
    "a genre without tracks": a_genre_without_tracks(),
    "a genre neither true nor predicted": a_genre_neither_true_nor_predicted(),
    "one genre alone": one_genre_alone(),
    "one track": one_track(),
}


@pytest.fixture(params=CASES, scope="module")
def case(request) -> tuple[np.ndarray, np.ndarray, Scores]:
    probabilities, labels = CASES[request.param]
    return probabilities, labels, evaluate(probabilities, labels, GENRES)


def test_accuracy_is_scikit_learns(case):
    probabilities, labels, scores = case
    assert scores.n == len(labels)
    assert scores.accuracy == pytest.approx(sklearn.metrics.accuracy_score(labels, probabilities.argmax(1)))


def test_macro_f1_is_scikit_learns_over_the_genres_that_have_tracks(case):
    probabilities, labels, scores = case
    expected = sklearn.metrics.f1_score(
        labels, probabilities.argmax(1), labels=np.unique(labels), average="macro", zero_division=0
    )
    assert scores.macro_f1 == pytest.approx(expected)
    assert macro_f1(probabilities, labels) == pytest.approx(expected)


def test_log_loss_is_scikit_learns(case):
    probabilities, labels, scores = case
    expected = sklearn.metrics.log_loss(labels, probabilities, labels=range(5))
    assert scores.log_loss == pytest.approx(expected, rel=1e-5 if probabilities.dtype == np.float32 else 1e-9, abs=1e-9)


def test_confusion_matrix_is_scikit_learns(case):
    probabilities, labels, scores = case
    expected = sklearn.metrics.confusion_matrix(labels, probabilities.argmax(1), labels=range(5))
    assert np.array_equal(scores.confusion, expected)


def test_per_genre_table_is_scikit_learns(case):
    probabilities, labels, scores = case
    predictions = probabilities.argmax(1)
    expected = sklearn.metrics.precision_recall_fscore_support(labels, predictions, labels=range(5), zero_division=0)
    table = [(g.precision, g.recall, g.f1, g.support) for g in scores.per_genre]
    np.testing.assert_allclose(table, np.transpose(expected))
    assert [g.genre for g in scores.per_genre] == GENRES
    assert [g.predicted for g in scores.per_genre] == np.bincount(predictions, minlength=5).tolist()


@pytest.mark.parametrize("name", ["random", "float32", "a genre without tracks", "one track"])
def test_top3_accuracy_is_scikit_learns_where_nothing_ties(name):
    probabilities, labels = CASES[name]
    expected = sklearn.metrics.top_k_accuracy_score(labels, probabilities, k=3, labels=range(5))
    assert evaluate(probabilities, labels, GENRES).top3_accuracy == pytest.approx(expected)


def test_ties_go_to_the_first_classes_in_top3_as_in_accuracy():
    scores = evaluate(np.full((5, 5), 0.2), np.arange(5), GENRES)
    assert scores.accuracy == pytest.approx(1 / 5)
    assert scores.top3_accuracy == pytest.approx(3 / 5)


def test_top3_accuracy_is_not_given_for_three_genres():
    scores = evaluate(certain(np.array([0, 1, 1]), 3), np.array([0, 1, 2]), GENRES[:3])
    assert scores.top3_accuracy is None


def test_hand_worked_confusion_matrix():
    #           predicted: Blues Electronic Folk
    # Blues (3 tracks)       2       1       0
    # Electronic (2)         0       1       1
    # Folk (1)               1       0       0
    labels = np.array([0, 0, 0, 1, 1, 2])
    predictions = np.array([0, 0, 1, 1, 2, 0])
    scores = evaluate(certain(predictions, 3), labels, GENRES[:3])
    assert scores.confusion == ((2, 1, 0), (0, 1, 1), (1, 0, 0))
    assert scores.accuracy == pytest.approx(3 / 6)
    assert [g.precision for g in scores.per_genre] == pytest.approx([2 / 3, 1 / 2, 0])
    assert [g.recall for g in scores.per_genre] == pytest.approx([2 / 3, 1 / 2, 0])
    assert scores.macro_f1 == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert (scores.majority_genre, scores.majority_share) == ("Blues", pytest.approx(3 / 6))


def test_a_stray_prediction_of_an_absent_genre_does_not_change_what_macro_f1_averages():
    labels = np.array([0, 0, 1, 1])
    scores = evaluate(certain(np.array([0, 0, 1, 2])), labels, GENRES)
    assert scores.macro_f1 == pytest.approx((1 + 2 / 3) / 2)


def test_calibration_error_of_a_hand_worked_table():
    # bin (8/15, 9/15]:  0.55 right, 0.59 wrong             confidence 0.57, accuracy 1/2, gap 0.07
    # bin (13/15, 14/15]: 0.9 right, 0.9 right, 0.9 wrong   confidence 0.90, accuracy 2/3, gap 0.2333
    # bin (14/15, 1]:    1.0 right                          gap 0
    confidence = np.array([0.55, 0.59, 0.9, 0.9, 0.9, 1.0])
    labels = np.array([0, 1, 0, 0, 1, 0])
    scores = evaluate(np.stack([confidence, 1 - confidence], axis=1), labels, GENRES[:2])
    assert scores.calibration_error == pytest.approx((2 * 0.07 + 3 * (0.9 - 2 / 3) + 0) / 6)
    filled = {i: bin.tracks for i, bin in enumerate(scores.calibration) if bin.tracks}
    assert filled == {8: 2, 13: 3, 14: 1}
    assert len(scores.calibration) == 15
    assert scores.calibration[8].confidence == pytest.approx(0.57)
    assert scores.calibration[0].accuracy is None


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    edge = float(np.linspace(0, 1, 16)[9])
    scores = evaluate(np.array([[edge, 1 - edge]]), np.array([0]), GENRES[:2])
    assert scores.calibration[8].tracks == 1


def test_calibration_error_follows_guo_on_random_data():
    probabilities, labels = random_case(1000, seed=6)
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == labels
    expected = 0.0
    for m in range(15):
        inside = (confidence > m / 15) & (confidence <= (m + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert evaluate(probabilities, labels, GENRES).calibration_error == pytest.approx(expected)


def test_coverage_of_a_hand_worked_table():
    confidence = np.array([0.6, 0.9, 0.8, 0.8])  # the two of 0.8 cannot be told apart by a threshold
    labels = np.array([0, 0, 1, 0])
    scores = evaluate(np.stack([confidence, 1 - confidence], axis=1), labels, GENRES[:2])
    points = [(p.threshold, p.coverage, p.accuracy) for p in scores.coverage]
    assert points == [(0.9, 0.25, 1.0), (0.8, 0.75, pytest.approx(2 / 3)), (0.6, 1.0, 0.75)]


@pytest.mark.parametrize(("wanted", "threshold"), [(1.0, 0.9), (0.76, 0.9), (0.75, 0.6), (0.7, 0.6), (0.1, 0.6)])
def test_most_tracks_are_labelled_that_an_accuracy_allows(wanted, threshold):
    confidence = np.array([0.6, 0.9, 0.8, 0.8])  # 0.8 alone gives 2 / 3: less than 0.9 does, and less than 0.6
    scores = evaluate(np.stack([confidence, 1 - confidence], axis=1), np.array([0, 0, 1, 0]), GENRES[:2])
    assert scores.at_accuracy(wanted).threshold == threshold


def test_an_accuracy_that_no_threshold_gives_has_no_point():
    scores = evaluate(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([1, 0]), GENRES[:2])
    assert scores.at_accuracy(0.51) is None


def test_coverage_points_are_what_their_thresholds_give_and_are_few():
    probabilities, labels = random_case(3000, seed=2)
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == labels
    scores = evaluate(probabilities, labels, GENRES)
    assert len(scores.coverage) <= 100
    for point in scores.coverage:
        labelled = confidence >= point.threshold
        assert point.coverage == pytest.approx(labelled.mean())
        assert point.accuracy == pytest.approx(correct[labelled].mean())
    assert scores.coverage[-1].coverage == 1
    assert scores.coverage[-1].accuracy == pytest.approx(scores.accuracy)


def test_intervals_are_those_of_resampling_the_tracks_one_by_one():
    probabilities, labels = random_case(150, seed=3)
    predictions, rng = probabilities.argmax(1), np.random.default_rng(9)
    samples = []
    for _ in range(1000):
        drawn = rng.integers(len(labels), size=len(labels))
        true, predicted = labels[drawn], predictions[drawn]
        f1 = sklearn.metrics.f1_score(true, predicted, labels=np.unique(true), average="macro", zero_division=0)
        samples.append([np.mean(true == predicted), f1])
    expected = np.quantile(samples, [0.025, 0.975], axis=0).T
    scores = evaluate(probabilities, labels, GENRES, resamples=5000)
    assert scores.accuracy_interval == pytest.approx(expected[0], abs=0.015)
    assert scores.macro_f1_interval == pytest.approx(expected[1], abs=0.015)


def test_accuracy_interval_is_that_of_the_binomial_distribution():
    scores = evaluate(*random_case(2000), GENRES, resamples=5000)
    expected = scipy.stats.binom.ppf([0.025, 0.975], scores.n, scores.accuracy) / scores.n
    spread = np.sqrt(scores.accuracy * (1 - scores.accuracy) / scores.n)
    assert scores.accuracy_interval == pytest.approx(expected, abs=0.15 * spread)


def test_accuracy_intervals_hold_the_known_accuracy_about_95_times_in_100():
    rng, held, trials = np.random.default_rng(5), 0, 300
    for _ in range(trials):
        labels = rng.integers(5, size=200)
        right = rng.random(200) < 0.7
        scores = evaluate(certain(np.where(right, labels, (labels + 1) % 5)), labels, GENRES, resamples=400)
        held += scores.accuracy_interval[0] <= 0.7 <= scores.accuracy_interval[1]
    assert 0.90 <= held / trials <= 0.99


def test_intervals_shrink_with_the_root_of_the_tracks():
    def width(interval):
        return interval[1] - interval[0]

    few, many = (evaluate(*random_case(n, seed=8), GENRES) for n in (200, 3200))
    assert width(few.accuracy_interval) / width(many.accuracy_interval) == pytest.approx(4, rel=0.15)
    assert width(few.macro_f1_interval) / width(many.macro_f1_interval) == pytest.approx(4, rel=0.3)


def test_the_same_seed_gives_the_same_scores_and_another_seed_other_intervals():
    probabilities, labels = random_case(100)
    assert evaluate(probabilities, labels, GENRES) == evaluate(probabilities, labels, GENRES)
    assert evaluate(probabilities, labels, GENRES) != evaluate(probabilities, labels, GENRES, seed=1)


def test_a_certain_mistake_has_a_finite_log_loss():
    scores = evaluate(*all_wrong(), GENRES)
    assert scores.log_loss == pytest.approx(-np.log(np.finfo(np.float64).eps))


def test_json_is_plain_strict_and_whole(case):
    scores = case[2]
    value = scores.to_json()
    text = json.dumps(value, allow_nan=False)
    assert json.loads(text) == value
    assert value["genres"] == GENRES
    assert value["per_genre"][4]["support"] == scores.per_genre[4].support
    assert value["confusion"] == [list(row) for row in scores.confusion]


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.zeros((0, 5)), np.zeros(0, int), "no tracks to evaluate"),
        (certain(np.array([1, 2])), np.array([1]), "shape"),
        (certain(np.array([1]), 4), np.array([1]), "shape"),
        (certain(np.array([1])), np.array([5]), "labels must be from 0 to 4"),
        (certain(np.array([1])), np.array([-1]), "labels must be from 0 to 4"),
        (np.full((1, 5), np.nan), np.array([0]), "distribution"),
        (np.array([[3.0, -1.0, -1.0, 0.0, 0.0]]), np.array([0]), "distribution"),
        (np.full((1, 5), 2.0), np.array([0]), "distribution"),
    ],
)
def test_what_cannot_be_measured_is_refused(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        evaluate(probabilities, labels, GENRES)


def test_scales_to_the_largest_subset():
    probabilities, labels = random_case(11_263, n_classes=161, seed=7)
    scores = evaluate(probabilities, labels, [str(i) for i in range(161)], resamples=100)
    assert scores.accuracy_interval[0] < scores.accuracy < scores.accuracy_interval[1]
