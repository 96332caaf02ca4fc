import pytest
import safetensors.torch
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from genreray.averaging import Average
from genreray.recipe import TrainingConfig


class Network(nn.Module):
    """A layer with batch norm, and a constant of the kind that standardises inputs."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("constant", torch.rand(4) / 3)

    def forward(self, x):
        return self.norm(self.linear(x * self.constant))


def steps(network, n, seed=0):
    """Train on noise, and yield after each step."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    network.train()
    for _ in range(n):
        loss = (network(torch.randn((8, 4), generator=generator)) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield


def network(seed=0):
    torch.manual_seed(seed)
    return Network()


def averages(average, model):
    """What a network is given, by the names of its weights."""
    with average.applied(model):
        return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same_as_torchs(average, model, reference):
    expected = {name: value for name, value in reference.module.state_dict().items() if value.is_floating_point()}
    assert len(expected) == 7
    found = averages(average, model)
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=1e-6), name


def test_swa_is_torchs_averaged_model():
    model = network()
    average, reference = Average(TrainingConfig(averaging="swa", swa_start=0.5, epochs=12)), None
    for epoch, _ in enumerate(steps(model, 12), 1):
        average.after_step(model)
        average.after_epoch(model, epoch)
        if epoch > 6:
            reference = reference or AveragedModel(model, use_buffers=True)
            reference.update_parameters(model)
    assert average.state_dict(model)["count"] == reference.n_averaged == 6
    assert_same_as_torchs(average, model, reference)


@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_ema_is_torchs_averaged_model_with_a_decay_that_grows(decay):
    model = network()
    average = Average(TrainingConfig(averaging="ema", ema_decay=decay))

    def mean(old, new, count):
        share = torch.minimum(torch.tensor(decay), (1 + count) / (10 + count))
        return share * old + (1 - share) * new

    reference = AveragedModel(model, avg_fn=mean, use_buffers=True)
    for _ in steps(model, 30):
        average.after_step(model)
        average.after_epoch(model, 1)
        reference.update_parameters(model)
    assert_same_as_torchs(average, model, reference)


def test_ema_by_hand():
    model = nn.Linear(1, 1, bias=False)
    average = Average(TrainingConfig(averaging="ema", ema_decay=0.2))
    found = []
    for value in (10.0, 21.0, 31.0):
        nn.init.constant_(model.weight, value)
        average.after_step(model)
        found.append(averages(average, model)["weight"].item())
    # All of the first; then 2/11 is kept of it; then 0.2, as 3/12 is more.
    assert found == pytest.approx([10.0, 19.0, 0.2 * 19.0 + 0.8 * 31.0])


def test_without_averaging_the_network_is_scored_as_it_is():
    model = network()
    average = Average(TrainingConfig())
    for _ in steps(model, 2):
        average.after_step(model)
        average.after_epoch(model, 30)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with average.applied(model):
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert average.state_dict(model) == {}


def test_swa_has_no_average_before_its_epochs():
    model = network()
    average = Average(TrainingConfig(averaging="swa", swa_start=0.75, epochs=8))
    average.after_epoch(model, 6)
    assert average.state_dict(model) == {}
    average.after_epoch(model, 7)
    assert average.state_dict(model)["count"] == 1


def test_the_average_is_in_the_network_inside_a_with_and_never_after_it():
    model = network()
    average = Average(TrainingConfig(averaging="ema"))
    for _ in steps(model, 5):
        average.after_step(model)
    own = {name: value.clone() for name, value in model.state_dict().items()}

    state = average.state_dict(model)

    def score():
        with average.applied(model):
            assert not torch.equal(model.linear.weight, own["linear.weight"])
            assert torch.equal(model.linear.weight, state["mean/linear.weight"])
            raise KeyError

    with pytest.raises(KeyError):
        score()
    assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items())


def test_averaging_does_not_change_training():
    alone, averaged = network(), network()
    for _ in steps(alone, 6):
        pass
    average = Average(TrainingConfig(averaging="ema"))
    for _ in steps(averaged, 6):
        average.after_step(averaged)
        with average.applied(averaged):
            pass
    assert all(torch.equal(value, averaged.state_dict()[name]) for name, value in alone.state_dict().items())


def test_constants_stay_to_the_last_bit_and_whole_numbers_are_the_last():
    model = network()
    average = Average(TrainingConfig(averaging="ema", ema_decay=0.9))
    for _ in steps(model, 20):
        average.after_step(model)
    found = averages(average, model)
    assert torch.equal(found["constant"], model.constant)
    assert found["norm.num_batches_tracked"] == 20


@pytest.mark.parametrize("averaging", ["none", "ema", "swa"])
def test_an_average_goes_on_from_its_state_and_the_network_too(averaging):
    config = TrainingConfig(averaging=averaging, epochs=10, swa_start=0.2)
    whole, first = Average(config), Average(config)
    model = network()
    for epoch, _ in enumerate(steps(model, 10), 1):
        for average in (whole, first) if epoch <= 6 else (whole,):
            average.after_step(model)
            average.after_epoch(model, epoch)
        if epoch == 6:
            own = {name: value.clone() for name, value in model.state_dict().items()}
            state = safetensors.torch.load(safetensors.torch.save(first.state_dict(model)))
            stored = averages(first, model)  # what a checkpoint holds
            weights = [own]
        elif epoch > 6:
            weights.append({name: value.clone() for name, value in model.state_dict().items()})
    resumed, second = network(seed=1), Average(config)
    resumed.load_state_dict(stored)
    second.load_state_dict(state, resumed)
    assert all(torch.equal(value, own[name]) for name, value in resumed.state_dict().items())
    for epoch, values in enumerate(weights[1:], 7):
        resumed.load_state_dict(values)
        second.after_step(resumed)
        second.after_epoch(resumed, epoch)
    expected, found = whole.state_dict(model), second.state_dict(resumed)
    assert expected.keys() == found.keys()
    assert len(found) == (0 if averaging == "none" else 1 + 2 * 8)
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_a_state_stays_as_it_was_taken():
    """It is written while the network holds the averages."""
    model = network()
    average = Average(TrainingConfig(averaging="ema"))
    training = steps(model, 4)
    for _ in range(3):
        next(training)
        average.after_step(model)
    state = average.state_dict(model)
    before = {name: value.clone() for name, value in state.items()}
    with average.applied(model):
        assert all(torch.equal(value, before[name]) for name, value in state.items())
    next(training)
    average.after_step(model)
    assert all(torch.equal(value, before[name]) for name, value in state.items())
