"""Forks, branches and skips of networks made by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

from linbp import SGM, LinBP, Model, Surrogate
from linbp.errors import RuleError
from linbp.graph import Junction
from linbp.graph.structure.module_paths import module_path

Forward = Callable[["Network", torch.Tensor], torch.Tensor]


class Network(nn.Module):
    """Layers by name, put together by a function; the mean and a linear layer at the end."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        for name in "abcdefgs":
            self.add_module(name, nn.Conv2d(4 if name != "s" else 3, 4, 3, padding=1))
        self.relu, self.head, self.written = nn.ReLU(), nn.Linear(4, 5), forward

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.written(self, self.s(images)).mean((2, 3)))
        return logits


def junctions(forward: Forward) -> tuple[Surrogate, list[Junction]]:
    torch.manual_seed(0)
    surrogate = Surrogate(Model(Network(forward).double().eval(), input_size=(3, 6, 6)), cache=False)
    return surrogate, list(surrogate.junctions)


def modules(surrogate: Surrogate, nodes: tuple[str, ...]) -> list[str]:
    """The modules of a junction's nodes, in order, without repetition."""
    paths = {node.name: module_path(node) for node in surrogate._capture.network.graph.nodes}
    return list(dict.fromkeys(paths[name] for name in nodes))


def test_an_identity_skip() -> None:
    surrogate, (junction,) = junctions(lambda net, x: x + net.b(net.relu(net.a(x))))
    assert junction.skip_is_identity
    assert junction.skip == ()
    assert junction.fork_path == "s"
    assert modules(surrogate, junction.branch) == ["a", "relu", "b"]
    assert junction.sites == (0,)
    assert junction.closed
    assert junction.module_path == ""


@pytest.mark.parametrize("first", ["skip", "branch"])
def test_a_projection_on_either_side_of_the_sum(first: str) -> None:
    def forward(net: Network, x: torch.Tensor) -> torch.Tensor:
        if first == "skip":
            return net.c(x) + net.b(net.relu(net.a(x)))
        return net.b(net.relu(net.a(x))) + net.c(x)

    surrogate, (junction,) = junctions(forward)
    assert not junction.skip_is_identity
    assert modules(surrogate, junction.skip) == ["c"]
    assert modules(surrogate, junction.branch) == ["a", "relu", "b"]


def test_a_fork_is_the_last_node_before_the_paths_part() -> None:
    def forward(net: Network, x: torch.Tensor) -> torch.Tensor:
        value = net.relu(net.a(x))
        return net.c(value) + net.b(net.relu(value))

    surrogate, (junction,) = junctions(forward)
    assert junction.fork_path == "relu"
    assert modules(surrogate, junction.skip) == ["c"]
    assert modules(surrogate, junction.branch) == ["relu", "b"]
    assert [site.kind for site in surrogate.sites] == ["plain", "in a branch"]
    assert junction.sites == (1,)


def test_the_branch_is_the_side_with_sites_and_otherwise_the_longer_one() -> None:
    surrogate, (junction,) = junctions(lambda net, x: net.c(net.b(net.a(x))) + net.relu(net.d(x)))
    assert modules(surrogate, junction.branch) == ["d", "relu"]
    surrogate, (junction,) = junctions(lambda net, x: net.c(x) + net.b(net.a(x)))
    assert modules(surrogate, junction.branch) == ["a", "b"]
    assert junction.sites == ()
    surrogate, (junction,) = junctions(lambda net, x: net.relu(net.c(x)) + net.relu(net.b(net.relu(net.a(x)))))
    assert modules(surrogate, junction.branch) == ["a", "relu", "b"]
    assert [site.kind for site in surrogate.sites] == ["plain", "in a branch", "in a branch"]


def test_branches_of_several_paths_are_whole() -> None:
    """Two ways inside the branch meet in a concatenation, as in Inception-ResNet."""

    def forward(net: Network, x: torch.Tensor) -> torch.Tensor:
        both = torch.cat([net.relu(net.a(x))[:, :2], net.relu(net.b(x))[:, :2]], 1)
        return x + net.c(both)

    surrogate, (junction,) = junctions(forward)
    assert set(modules(surrogate, junction.branch)) == {"a", "b", "c", "relu", ""}
    assert junction.sites == (0, 1)
    assert junction.closed


def test_nested_junctions() -> None:
    def forward(net: Network, x: torch.Tensor) -> torch.Tensor:
        inner = net.relu(net.a(x))
        inner = inner + net.c(net.relu(net.b(inner)))
        return x + net.e(net.relu(net.d(net.relu(inner))))

    surrogate, (inner, outer) = junctions(forward)
    assert inner.node in outer.branch
    assert inner.sites == (1,)
    assert outer.sites == (0, 1, 2, 3)
    assert [site.junction for site in surrogate.sites] == [1, 0, 1, 1]
    assert [site.kind for site in surrogate.sites] == ["in a branch", "in a branch", "after a sum", "in a branch"]
    assert inner.closed
    assert outer.closed


def test_a_branch_that_something_else_reads_is_not_closed() -> None:
    def forward(net: Network, x: torch.Tensor) -> torch.Tensor:
        inner = net.relu(net.a(x))
        return torch.cat([(x + net.b(inner))[:, :2], inner[:, :2]], 1)

    _, (junction,) = junctions(forward)
    assert not junction.closed
    assert junction.sites == (0,)


def test_the_sum_of_the_parts_of_a_tensor_has_no_closed_branch() -> None:
    def forward(net: Network, x: torch.Tensor) -> torch.Tensor:
        one, other = net.a(x).split([2, 2], 1)
        return torch.cat([net.relu(one) + other, other], 1)

    surrogate, (junction,) = junctions(forward)
    assert not junction.closed
    images, labels = torch.rand(2, 3, 6, 6).double(), [0, 1]
    changed = [surrogate.with_rule(LinBP(start=0, rebalance=how)).gradient(images, labels) for how in ("site", None)]
    assert all((one != surrogate.gradient(images, labels)).any() for one in changed)
    with pytest.raises(RuleError, match="open branches"):
        surrogate.with_rule(LinBP(start=0))


def test_three_terms_are_two_junctions() -> None:
    surrogate, found = junctions(lambda net, x: x + net.b(net.relu(net.a(x))) + net.relu(net.c(x)))
    assert len(found) == 2
    assert found[0].fork == found[1].fork
    assert found[0].closed
    assert found[0].node in found[1].branch
    assert modules(surrogate, found[1].skip) == ["c", "relu"]


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: x + x,
        lambda net, x: net.relu(net.a(x)) + 1,
        lambda net, x: net.relu(net.a(x)) + net.b.bias.view(1, -1, 1, 1),
        lambda net, x: x * net.relu(net.a(x)),
        lambda net, x: torch.cat([x, net.relu(net.a(x))], 1)[:, 2:6],
    ],
    ids=["x + x", "x + 1", "x + parameter", "x * y", "concatenation"],
)
def test_what_is_no_junction(forward: Forward) -> None:
    assert junctions(forward)[1] == []


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: x.add_(net.b(net.relu(net.a(x)))),
        lambda net, x: torch.add(x, net.b(net.relu(net.a(x)))),
        lambda net, x: torch.add(x, net.b(net.relu(net.a(x))), alpha=0.5),
        lambda net, x: x + functional.dropout(net.b(net.relu(net.a(x))), 0.5, training=False),
        lambda net, x: 0.5 * net.b(net.relu(net.a(x))) + x,
    ],
    ids=["in place", "torch.add", "scaled sum", "dropout", "scaled branch"],
)
def test_sums_however_they_are_written(forward: Forward) -> None:
    _, (junction,) = junctions(forward)
    assert junction.skip_is_identity
    assert junction.sites == (0,)
    assert junction.closed


def test_activations_after_a_sum_and_after_its_normalisation() -> None:
    class Normalised(Network):
        def __init__(self) -> None:
            super().__init__(lambda net, x: x)
            self.norm = nn.BatchNorm2d(4)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            x = self.s(images)
            x = self.relu(self.norm(x + self.b(self.relu(self.a(x)))))  # after a sum, normalised
            x = functional.gelu(x + self.d(self.relu(self.c(x))))  # after a sum
            x = self.relu(self.e(x))  # a convolution lies between
            logits: torch.Tensor = self.head(x.mean((2, 3)))
            return logits

    surrogate = Surrogate(Model(Normalised().double().eval(), input_size=(3, 6, 6)), cache=False)
    kinds = [site.kind for site in surrogate.sites]
    assert kinds == ["in a branch", "after a sum", "in a branch", "after a sum", "plain"]
    assert [site.op for site in surrogate.sites] == ["relu", "relu", "relu", "gelu", "relu"]


def test_a_token_that_attends_to_itself_and_to_others_has_no_closed_branch() -> None:
    """The skip lies on the way into the branch, which reads more than it: the fork is further up (as in CaiT)."""

    def forward(net: Network, x: torch.Tensor) -> torch.Tensor:
        token = net.relu(net.a(x))
        return token + net.relu(net.b(token * net.c(x)))

    surrogate, (junction,) = junctions(forward)
    assert junction.fork_path == "s"
    assert not junction.closed
    found = surrogate.with_rule(LinBP(start=0, rebalance=None)).gradient(torch.rand(1, 3, 6, 6).double(), [0])
    assert bool(torch.isfinite(found).all())
    with pytest.raises(RuleError, match="branches"):
        surrogate.with_rule(LinBP(start=0))


class Rotary(nn.Module):
    """A block of 36 tokens whose queries and keys are turned by their position, as in EVA-02 and DINOv3."""

    def __init__(self, turn: str) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 1), nn.Linear(8, 5)
        self.qkv, self.out, self.mlp = nn.Linear(8, 24), nn.Linear(8, 8), nn.Linear(8, 8)
        self.turn = turn
        angles = torch.linspace(0, 3, 36 * 8).view(36, 8)
        self.register_buffer("sin", angles.sin())
        self.cos = nn.Parameter(angles.cos())
        self.scaled: Callable[[torch.Tensor], torch.Tensor] = lambda value: value

    def turned(self, value: torch.Tensor) -> torch.Tensor:
        if self.turn == "halves":
            first, second = value.chunk(2, -1)
            other = torch.cat([-second, first], -1)
        else:
            other = torch.stack([-value[..., 1::2], value[..., ::2]], -1).reshape(value.shape)
        return value * self.cos + other * self.sin

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.stem(images).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(tokens).chunk(3, -1)
        attended = functional.scaled_dot_product_attention(self.turned(q), self.turned(k), v)
        tokens = tokens + self.scaled(self.out(attended))
        tokens = tokens + self.scaled(self.mlp(functional.gelu(tokens)))
        logits: torch.Tensor = self.head(tokens.mean(1))
        return logits


@pytest.mark.parametrize("turn", ["halves", "pairs"])
def test_a_rotary_embedding_has_no_residual_sum_and_sgm_leaves_it_alone(turn: str) -> None:
    torch.manual_seed(0)
    network = Rotary(turn).double().eval()
    images, labels = torch.rand(2, 3, 6, 6, dtype=torch.float64), torch.tensor([1, 4])
    surrogate = Surrogate(Model(network, input_size=(3, 6, 6)), SGM(gamma=0.3), cache=False)
    assert [junction.skip_is_identity for junction in surrogate.junctions] == [True, True]
    found = surrogate.gradient(images, labels)

    def scaled(value: torch.Tensor) -> torch.Tensor:
        return 0.3 * value + 0.7 * value.detach()

    network.scaled = scaled
    leaf = images.clone().requires_grad_()
    loss = functional.cross_entropy(network(leaf), labels, reduction="sum")
    (expected,) = torch.autograd.grad(loss, leaf)
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-14)


def test_a_sum_of_arranged_values_is_none_and_one_with_an_activation_is() -> None:
    _, found = junctions(lambda net, x: net.a(x + 0.5 * x.flip(3).roll(1, 2)))
    assert found == []
    _, found = junctions(lambda net, x: net.a(x + 0.5 * net.relu(x.flip(3))))
    assert len(found) == 1
    _, found = junctions(lambda net, x: net.a(x + x * x.flip(3)))
    assert len(found) == 1


SCALE = torch.rand(4, 1, 1, dtype=torch.float64) + 0.5
SCALED: dict[str, tuple[Forward, str | None]] = {
    "nothing": (lambda net, x: net.b(x), None),
    "a product": (lambda net, x: net.b(x) * SCALE, "b"),
    "two products, and a dropout": (lambda net, x: functional.dropout(0.5 * (SCALE * net.b(x)), 0.1, False), "b"),
    "a quotient": (lambda net, x: net.b(x) / SCALE, "b"),
    "a quotient the other way": (lambda net, x: SCALE / (2 + net.b(x).tanh()), None),
    "a square": (lambda net, x: net.b(x) * net.b(x), None),
    "a scale before another layer": (lambda net, x: net.c(net.b(x) * SCALE), None),
    "a sum": (lambda net, x: (net.b(x) + net.c(net.b(x))) * SCALE, ""),
}


@pytest.mark.parametrize("form", SCALED)
def test_constants_that_multiply_a_branch_are_told(form: str) -> None:
    written, expected = SCALED[form]
    surrogate, found = junctions(lambda net, x: net.d(x) + written(net, net.relu(net.a(x))))
    unscaled = found[-1].unscaled
    assert (None if unscaled is None else modules(surrogate, (unscaled,))[0]) == expected
    assert found[-1].computed == found[-1].branch[: None if unscaled is None else found[-1].branch.index(unscaled) + 1]


def test_constants_behind_what_something_else_reads_are_part_of_the_branch() -> None:
    def forward(net: Network, x: torch.Tensor) -> torch.Tensor:
        inner = net.relu(net.a(x))
        result = x + inner * SCALE
        return result + net.c(inner)

    _, (first, second) = junctions(forward)
    assert first.unscaled is None
    assert not first.closed
    assert second.unscaled is None
