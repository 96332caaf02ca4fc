import shutil
import warnings

import pytest
import torch
from torch import nn
from torch._dynamo.exc import InvalidBackend
from torch.nn.parallel import DistributedDataParallel

from genreray import compiling
from genreray.errors import UserError

CPU = torch.device("cpu")


class Network(nn.Module):
    """Logits of a grey image, in a layer or two."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
        self.seen = 0

    def forward(self, inputs):
        self.seen += 1
        return self.layers(inputs["mel"].flatten(1).float() / 255)


def images(n):
    return {"mel": torch.randint(256, (n, 3, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))}


def gradients(network, run, inputs):
    network.zero_grad()
    run(inputs).square().sum().backward()
    return [parameter.grad.clone() for parameter in network.parameters()]


@pytest.mark.faults  # half a minute where nothing is cached
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_a_compiled_step_does_what_the_network_does():
    network, plain = Network(), Network()
    run = compiling.for_steps(network, "on", 1, CPU)
    for n in (8, 8, 3, 8):
        found, expected = gradients(network, run, images(n)), gradients(plain, plain, images(n))
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)
    for one, other in zip(network.buffers(), plain.buffers(), strict=True):  # the means of batch norm
        torch.testing.assert_close(one, other)


def test_only_batches_of_the_first_size_are_compiled_for(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda network: lambda inputs: compiled.append(len(inputs["mel"])))
    network = Network()
    run = compiling.for_steps(network, "on", 1, CPU)
    for n in (8, 8, 3, 8):
        run(images(n))
    assert (compiled, network.seen) == ([8, 8, 8], 1)


def fails(network):
    def run(inputs):
        raise InvalidBackend("no compiler\nand much more")

    return run


def test_what_must_be_compiled_and_cannot_is_an_error(monkeypatch):
    monkeypatch.setattr(torch, "compile", fails)
    run = compiling.for_steps(Network(), "on", 1, CPU)
    with pytest.raises(
        UserError, match=r"could not be compiled \(.*\): install a C\+\+ compiler, .* leave --compile out$"
    ):
        run(images(8))


def test_what_need_not_be_compiled_runs_as_it_is(monkeypatch):
    monkeypatch.setattr(torch, "compile", fails)
    network = Network()
    run = compiling.for_steps(network, "auto", 1000, CPU)
    with pytest.warns(UserWarning, match="runs as it is, as it could not be compiled"):
        run(images(8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(images(8))
    assert network.seen == 2


def test_what_the_network_raises_is_raised(monkeypatch):
    def wrong(inputs):
        raise ValueError("not the shape")

    monkeypatch.setattr(torch, "compile", lambda network: wrong)
    for how in ("on", "auto"):
        with pytest.raises(ValueError, match="not the shape"):
            compiling.for_steps(Network(), how, 1000, CPU)(images(8))


@pytest.mark.parametrize(
    ("how", "n_steps", "device", "expected"),
    [
        ("off", 10**6, "cpu", False),
        ("on", 1, "cpu", True),
        ("on", 1, "cuda", True),
        ("auto", 999, "cpu", False),
        ("auto", 1000, "cpu", True),
        ("auto", 1000, "cuda", False),
    ],
)
def test_it_is_compiled_where_that_pays(monkeypatch, how, n_steps, device, expected):
    monkeypatch.setattr(torch, "compile", lambda network: network)
    network = Network()
    run = compiling.for_steps(network, how, n_steps, torch.device(device))
    assert isinstance(run, compiling.Compiled) is expected
    assert expected or run is network


def test_several_workers_do_not_compile_by_themselves(monkeypatch):
    class Parallel(DistributedDataParallel):
        def __init__(self):
            nn.Module.__init__(self)

    monkeypatch.setattr(torch, "compile", lambda network: network)
    parallel = Parallel()
    assert compiling.for_steps(parallel, "auto", 1000, CPU) is parallel
