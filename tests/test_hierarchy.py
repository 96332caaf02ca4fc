import math

import pytest
import torch
from torch.nn import functional as F

from genreray.augment import Mix
from genreray.hierarchy import Hierarchy, probabilities
from genreray.objective import SeveralGenres

# Rock > Punk > (Oi, Hardcore), Rock > Metal, Jazz > Bebop, Folk; Ska's parent is not among the genres.
GENRES = ["Bebop", "Folk", "Hardcore", "Jazz", "Metal", "Oi", "Punk", "Rock", "Ska"]
PARENTS = {
    "Oi": "Punk",
    "Hardcore": "Punk",
    "Punk": "Rock",
    "Metal": "Rock",
    "Bebop": "Jazz",
    "Ska": "Reggae",
    "Dub": "Reggae",
}
TREE = Hierarchy(GENRES, PARENTS)


def subtree(genre):
    """By walking up from every genre."""
    found = []
    for other in GENRES:
        above = other
        while above is not None:
            if above == genre:
                found.append(GENRES.index(other))
            above = PARENTS.get(above)
    return found


def draw(*shape, seed=0):
    return 2 * torch.randn((*shape, len(GENRES)), generator=torch.Generator().manual_seed(seed))


def draw_labels(n, seed=0):
    """With the parents of all that was drawn."""
    drawn = torch.rand((n, len(GENRES)), generator=torch.Generator().manual_seed(seed)) < 0.2
    return torch.stack([drawn[:, subtree(genre)].any(1) for genre in GENRES], 1)


def naive_loss(logits, labels, smoothing=0.0):
    """Of one clip, as the paper writes it: of probabilities, genre by genre."""
    h = [1 / (1 + math.exp(-x)) for x in logits.tolist()]
    losses = []
    for i, genre in enumerate(GENRES):
        largest = max(h[j] for j in subtree(genre))
        own = max((h[j] for j in subtree(genre) if labels[j]), default=largest)
        target = (1 - smoothing) * bool(labels[i]) + smoothing / 2
        losses.append(-target * math.log(own) - (1 - target) * math.log(1 - largest))
    return losses


def test_a_parent_is_as_probable_as_the_most_probable_below_it():
    logits = torch.tensor([[1.0, -2.0, 3.0, 0.0, -1.0, 2.0, 0.5, -3.0, 4.0]])
    #                      Bebop Folk  Hardc Jazz Metal Oi   Punk Rock  Ska
    expected = [1.0, -2.0, 3.0, 1.0, -1.0, 2.0, 3.0, 3.0, 4.0]
    assert TREE(logits)[0].tolist() == expected
    assert TREE.parents == (3, -1, 6, -1, 7, 6, 7, -1, -1)
    assert TREE.depths == (1, 0, 2, 0, 1, 2, 1, 0, 0)


def test_it_is_the_maximum_over_each_subtree():
    logits = draw(5, 3)
    found = TREE(logits)
    for i, genre in enumerate(GENRES):
        assert torch.equal(found[..., i], logits[..., subtree(genre)].amax(-1))
    assert torch.equal(TREE(found), found)


def test_without_a_tree_nothing_changes():
    flat = Hierarchy(GENRES, {})
    logits, labels = draw(6), draw_labels(6)
    assert flat(logits) is logits
    expected = F.binary_cross_entropy_with_logits(logits, labels.float(), reduction="none")
    assert torch.allclose(flat.loss(logits, labels), expected, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_the_paper(smoothing):
    logits, labels = draw(20), draw_labels(20)
    found = TREE.loss(logits, labels, smoothing)
    expected = [naive_loss(*pair, smoothing) for pair in zip(logits, labels, strict=True)]
    assert torch.allclose(found, torch.tensor(expected), atol=1e-5)


def test_a_parent_is_not_learnt_by_raising_a_child_that_the_track_does_not_have():
    """What the loss is for: the plain one of coherent probabilities would push Metal up for a track of Punk."""
    labels = torch.tensor([[genre in ("Punk", "Rock") for genre in GENRES]])
    logits = torch.full((1, len(GENRES)), -2.0)
    logits[0, GENRES.index("Metal")] = 1.0
    logits.requires_grad_()
    TREE.loss(logits, labels).sum().backward()
    slope = dict(zip(GENRES, logits.grad[0].tolist(), strict=True))
    assert slope["Metal"] > 0 > slope["Punk"]
    plain = logits.detach().clone().requires_grad_()
    F.binary_cross_entropy_with_logits(TREE(plain), labels.float(), reduction="sum").backward()
    assert plain.grad[0, GENRES.index("Metal")] < slope["Metal"]


def test_gradients_are_those_of_small_differences():
    logits, labels = draw(4).double().requires_grad_(), draw_labels(4)
    assert torch.autograd.gradcheck(lambda x: TREE.loss(x, labels, 0.1), (logits,))


def test_extreme_logits_give_finite_losses_and_gradients():
    logits = torch.tensor([1e4, -1e4, 80.0]).repeat(3)[None].repeat(2, 1).requires_grad_()
    loss = TREE.loss(logits, draw_labels(2)).mean()
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("temperature", [0.3, 1.0, 7.0])
def test_the_mean_over_crops_is_coherent_at_any_temperature(temperature):
    found = probabilities(draw(50, 4), TREE, temperature)
    assert found.shape == (50, len(GENRES))
    for genre, parent in enumerate(TREE.parents):
        if parent >= 0:
            assert (found[:, parent] >= found[:, genre]).all()
    crops = draw(50, 4) / temperature
    assert torch.allclose(found[:, GENRES.index("Rock")], crops[..., subtree("Rock")].amax(-1).sigmoid().mean(1))


def test_one_genre_a_track_is_a_softmax():
    logits = draw(5, 3)
    assert torch.equal(probabilities(logits, None, 2.0), (logits / 2.0).softmax(2).mean(1))


@pytest.mark.parametrize("tree", [TREE, Hierarchy(GENRES, {})])
def test_a_mixture_has_both_clips_losses_in_their_shares(tree):
    logits, labels = draw(8), draw_labels(8)
    mix = Mix(torch.arange(8).flip(0), torch.linspace(0.5, 1, 8))
    found = SeveralGenres(tree)(logits, labels, mix)
    expected = mix.share[:, None] * tree.loss(logits, labels) + (1 - mix.share[:, None]) * tree.loss(
        logits, labels.flip(0)
    )
    assert torch.allclose(found, expected.mean())
    if not any(tree.depths):
        mixed = mix.of(labels.float())
        assert torch.allclose(found, F.binary_cross_entropy_with_logits(logits, mixed))


def test_genres_come_after_what_is_above_them():
    order = TREE.from_above()
    assert sorted(order) == list(range(len(GENRES)))
    for genre, parent in enumerate(TREE.parents):
        if parent >= 0:
            assert order.index(parent) < order.index(genre)
