"""Attention, softmax, concatenation, edge and tensor: values stay, gradients are what a rule asks for.

Each place is proved by one small rule on timm's and torchvision's networks, in float64, against hooks on the eager
module.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional

import linbp
from linbp.errors import RuleError
from linbp.graph import AttentionGradients, Operation, Plan, Structure

CLASSES = 6
Change = Callable[[torch.Tensor], torch.Tensor]


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    """A module in float64 whose weights come from a seed; none is zero, as some are when they are built."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module = build()
        with torch.no_grad():
            for tensor in (*module.parameters(), *module.buffers()):
                if tensor.is_floating_point() and not tensor.any():
                    tensor.normal_(0, 0.2)
    return module.double().eval()


def timm_vit(name: str = "vit_tiny_patch16_224", **options: Any) -> nn.Module:
    return timm.create_model(name, img_size=32, depth=2, embed_dim=24, num_heads=2, num_classes=CLASSES, **options)


def timm_swin() -> nn.Module:
    return timm.create_model(
        "swin_tiny_patch4_window7_224",
        img_size=32,
        window_size=4,
        embed_dim=12,
        depths=(2, 2),
        num_heads=(2, 4),
        num_classes=CLASSES,
    )


def torchvision_vit() -> nn.Module:
    return torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=24, mlp_dim=32, num_classes=CLASSES
    )


def torchvision_swin() -> nn.Module:
    return torchvision.models.SwinTransformer(
        patch_size=[4, 4], embed_dim=12, depths=[2, 2], num_heads=[2, 4], window_size=[4, 4], num_classes=CLASSES
    )


def densenet() -> nn.Module:
    return torchvision.models.DenseNet(growth_rate=6, block_config=(2, 2), num_init_features=8, num_classes=CLASSES)


def fused(module: nn.Module, wanted: bool) -> nn.Module:
    """timm's attention computed by one operation, or spelt out."""
    for child in module.modules():
        if hasattr(child, "fused_attn"):
            child.fused_attn = wanted
    return module


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "timm ViT, fused": lambda: fused(timm_vit(), True),
    "timm ViT": lambda: fused(timm_vit(), False),
    "timm DeiT, fused": lambda: fused(timm_vit("deit_tiny_distilled_patch16_224"), True),
    "timm DeiT": lambda: fused(timm_vit("deit_tiny_distilled_patch16_224"), False),
    "timm Swin, fused": lambda: fused(timm_swin(), True),
    "timm Swin": lambda: fused(timm_swin(), False),
    "torchvision ViT": torchvision_vit,
    "torchvision Swin": torchvision_swin,
}
ATTENTIONS = {name: 4 if "Swin" in name else 2 for name in NETWORKS}


@pytest.fixture(scope="module", params=sorted(NETWORKS))
def network(request: pytest.FixtureRequest) -> tuple[str, nn.Module, linbp.Surrogate]:
    module = seeded(NETWORKS[request.param])
    return request.param, module, linbp.Surrogate(linbp.Model(module, input_size=(3, 32, 32)))


def images() -> torch.Tensor:
    return torch.rand(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


LABELS = torch.tensor([1, 4])


def eager_gradient(module: nn.Module) -> torch.Tensor:
    """The input gradient of the summed cross-entropy of a module, with whatever hooks it has."""
    start = images().requires_grad_()
    loss = functional.cross_entropy(module(start), LABELS, reduction="sum")
    return torch.autograd.grad(loss, start)[0]


@dataclass(frozen=True)
class Given:
    """A rule of the tests: its plan is what it is made of."""

    plan_of: Callable[[Structure], Plan]

    def plan(self, structure: Structure) -> Plan:
        return self.plan_of(structure)


def check(surrogate: linbp.Surrogate, plan_of: Callable[[Structure], Plan], expected: torch.Tensor) -> None:
    """The rule's gradient is the expected one, is not the ordinary one, and no value changes."""
    ruled = surrogate.with_rule(Given(plan_of))
    assert torch.equal(ruled.run(images()), surrogate.run(images()))
    found = ruled.gradient(images(), LABELS)
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-12)
    ordinary = surrogate.gradient(images(), LABELS)
    assert (found - ordinary).norm() > 1e-6 * ordinary.norm()


class Changed(torch.autograd.Function):
    """The identity whose gradient a function changes."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, change: Change) -> torch.Tensor:
        ctx.change = change
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.change(gradients[0]), None


def changed(value: torch.Tensor, change: Change | None) -> torch.Tensor:
    return value if change is None else Changed.apply(value, change)


class LooseSoftmax(torch.autograd.Function):
    """A softmax whose backward pass forgets that the values add up to 1."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
        result = torch.softmax(value, -1)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0] * ctx.saved_tensors[0]


@contextmanager
def attention_with(
    logits: Change | None = None,
    query: Change | None = None,
    key: Change | None = None,
    value: Change | None = None,
    softmax: Callable[[torch.Tensor], torch.Tensor] = lambda logits: torch.softmax(logits, -1),
) -> Iterator[None]:
    """Inside, every fused attention and every softmax of eager modules passes gradients so."""
    with pytest.MonkeyPatch.context() as patch:

        def spelt_out(q: Any, k: Any, v: Any, attn_mask: Any = None, *_: Any, **options: Any) -> torch.Tensor:
            q, k, v = changed(q, query), changed(k, key), changed(v, value)
            scale = options.get("scale") or q.shape[-1] ** -0.5
            scores = q @ k.transpose(-2, -1) * scale
            scores = scores if attn_mask is None else scores + attn_mask
            return softmax(changed(scores, logits)) @ v

        def eager_softmax(self: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
            return softmax(changed(self, logits))

        patch.setattr(functional, "scaled_dot_product_attention", spelt_out)
        patch.setattr(torch.Tensor, "softmax", eager_softmax)
        patch.setattr(functional, "softmax", eager_softmax)
        yield


def spelt_out(name: str, module: nn.Module) -> nn.Module:
    """The eager module whose attention `attention_with` reaches."""
    return fused(copy.deepcopy(module), "Swin" not in name)


def test_every_attention_is_found(network: tuple[str, nn.Module, linbp.Surrogate]) -> None:
    name, _module, surrogate = network
    assert len(surrogate.attentions) == ATTENTIONS[name]
    one_operation = "fused" in name or name == "torchvision ViT"
    for attention in surrogate.attentions:
        assert attention.closed
        assert attention.fused is one_operation
        assert (attention.logits is None) is one_operation
        assert "attn" in attention.module_path or "attention" in attention.module_path
        heads, queries, keys = attention.shape
        assert heads in (2, 4)
        assert queries == keys
        assert attention.junction is not None
        windows = 4 if "Swin" in name and attention.index < 2 else 1
        assert attention.groups == windows  # of 4 x 4 in 8 x 8 patches, and in 4 x 4 behind the merging
    assert len(surrogate.structure.softmaxes) == (0 if one_operation else ATTENTIONS[name])


def test_attention_maps_can_be_constants(network: tuple[str, nn.Module, linbp.Surrogate]) -> None:
    """PNA's rule: no gradient at the softmax's input."""
    name, module, surrogate = network

    def no_attention(gradient: torch.Tensor, attention: AttentionGradients) -> tuple[torch.Tensor, ...]:
        return attention.from_logits(gradient, torch.zeros_like(attention.logits))

    with attention_with(logits=torch.zeros_like):
        expected = eager_gradient(spelt_out(name, module))
    check(surrogate, lambda s: Plan(attentions=dict.fromkeys(range(len(s.attentions)), no_attention)), expected)


def test_gradients_at_the_logits_can_be_cut_image_by_image(network: tuple[str, nn.Module, linbp.Surrogate]) -> None:
    """Half of TGR's rule: the largest entry of each map gets no gradient."""
    name, module, surrogate = network

    def without_largest(gradient: torch.Tensor) -> torch.Tensor:
        rows = gradient.flatten(1)
        return rows.scatter(1, rows.argmax(1, keepdim=True), 0.0).view_as(gradient)

    def rule(gradient: torch.Tensor, attention: AttentionGradients) -> tuple[torch.Tensor, ...]:
        assert len(gradient) == 2 * attention.groups
        assert torch.allclose(attention.map, attention.logits.softmax(-1))
        at_logits = attention.logits_gradient(gradient)
        parts = attention.from_logits(gradient, at_logits)
        assert all(torch.allclose(one, other) for one, other in zip(parts, attention.ordinary(gradient), strict=True))
        shapes = [one.shape for one in (attention.query, attention.key, attention.value)]
        assert [part.shape for part in parts] == shapes
        return attention.from_logits(gradient, without_largest(at_logits))

    with attention_with(logits=without_largest):
        expected = eager_gradient(spelt_out(name, module))
    check(surrogate, lambda s: Plan(attentions=dict.fromkeys(range(len(s.attentions)), rule)), expected)


@pytest.mark.parametrize("which", ["query", "key", "value"])
def test_query_key_and_value_are_tensors_on_the_way(
    network: tuple[str, nn.Module, linbp.Surrogate], which: str
) -> None:
    name, module, surrogate = network
    if "Swin" in name:
        return  # its eager attention gives no access to them from outside; the nodes are the same kind
    with attention_with(**{which: lambda gradient: 3 * gradient.clamp(min=0)}):  # type: ignore[arg-type]
        expected = eager_gradient(spelt_out(name, module))

    def plan(structure: Structure) -> Plan:
        names = [getattr(attention, which) for attention in structure.attentions]
        return Plan(tensors=dict.fromkeys(names, lambda gradient: 3 * gradient.clamp(min=0)))

    check(surrogate, plan, expected)


@dataclass(frozen=True)
class Loose:
    """As `LooseSoftmax`."""

    needs: Any = "output"

    def __call__(self, gradient: torch.Tensor, ordinary: Operation) -> torch.Tensor:
        assert torch.allclose(
            ordinary(gradient), ordinary.output * (gradient - (gradient * ordinary.output).sum(-1, True))
        )
        with pytest.raises(AttributeError):
            _ = ordinary.input
        return gradient * ordinary.output


def test_softmaxes_that_are_spelt_out_are_places(network: tuple[str, nn.Module, linbp.Surrogate]) -> None:
    _name, module, surrogate = network
    if not surrogate.structure.softmaxes:
        return
    with attention_with(softmax=LooseSoftmax.apply):
        expected = eager_gradient(module)
    check(surrogate, lambda s: Plan(softmaxes=dict.fromkeys(range(len(s.softmaxes)), Loose())), expected)


def test_the_end_of_an_attention_branch_is_a_tensor_on_the_way(
    network: tuple[str, nn.Module, linbp.Surrogate],
) -> None:
    _name, module, surrogate = network
    eager = copy.deepcopy(module)

    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (changed(output[0], lambda gradient: 0.25 * gradient.abs()), *output[1:])
        return changed(output, lambda gradient: 0.25 * gradient.abs())

    for path, child in eager.named_modules():
        if path.endswith((".attn", ".self_attention")):
            child.register_forward_hook(hook)
    expected = eager_gradient(eager)

    def plan(structure: Structure) -> Plan:
        junctions = [attention.junction for attention in structure.attentions]
        return Plan(edges=dict.fromkeys(junctions, lambda gradient: 0.25 * gradient.abs()))  # type: ignore[arg-type]

    def plan_by_name(structure: Structure) -> Plan:
        ends = [structure.junctions[attention.junction or 0].branch[-1] for attention in structure.attentions]
        return Plan(tensors=dict.fromkeys(ends, lambda gradient: 0.25 * gradient.abs()))

    check(surrogate, plan, expected)
    check(surrogate, plan_by_name, expected)


def test_concatenations_of_a_densenet() -> None:
    """SGM's idea there: what a layer adds passes half of its gradient, what came before all of it."""
    module = seeded(densenet)
    surrogate = linbp.Surrogate(linbp.Model(module, input_size=(3, 32, 32)))
    concatenations = surrogate.concatenations
    assert [len(one.operands) for one in concatenations] == [2, 3, 2, 3]
    assert [one.sizes for one in concatenations] == [(8, 6), (8, 6, 6), (10, 6), (10, 6, 6)]
    assert {one.axis for one in concatenations} == {1}
    assert [one.dense for one in concatenations] == [(1,), (1, 2), (1,), (1, 2)]
    original = torch.cat

    def halved(tensors: Any, dim: int = 0, **_: Any) -> torch.Tensor:
        tensors = list(tensors)
        return original([changed(t, (lambda g: g / 2) if at else None) for at, t in enumerate(tensors)], dim)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "cat", halved)
        expected = eager_gradient(module)

    def rule(gradient: torch.Tensor, operand: int) -> torch.Tensor:
        return gradient / 2 if operand else gradient

    check(surrogate, lambda s: Plan(concatenations=dict.fromkeys(range(len(s.concatenations)), rule)), expected)


class AttentiveBranch(nn.Module):
    """x + W relu(attention(x)): a branch with a site and an attention."""

    def __init__(self, spelt: bool) -> None:
        super().__init__()
        self.spelt = spelt
        self.stem = nn.Conv2d(3, 8, 8, 8)
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)
        self.head = nn.Linear(8, CLASSES)
        self.at_logits: Change | None = None
        self.linear = False

    def attend(self, value: torch.Tensor) -> torch.Tensor:
        query, key, inner = self.qkv(value).chunk(3, -1)
        if not self.spelt and self.at_logits is None:
            return functional.scaled_dot_product_attention(query, key, inner)
        logits = query @ key.transpose(-2, -1) * 8**-0.5
        return changed(logits, self.at_logits).softmax(-1) @ inner

    def branch(self, value: torch.Tensor) -> torch.Tensor:
        inside = self.attend(value)
        return self.out(inside + (torch.relu(inside) - inside).detach() if self.linear else torch.relu(inside))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = self.stem(images).flatten(2).transpose(1, 2)
        return self.head((value + self.branch(value)).mean(1))


@pytest.mark.parametrize("spelt", [True, False])
def test_the_ordinary_walk_of_a_branch_passes_the_rule_of_an_attention_inside(spelt: bool) -> None:
    """LinBP's ratio beside an attention rule in one branch: u sees both rules, v neither."""
    module = seeded(lambda: AttentiveBranch(spelt))
    surrogate = linbp.Surrogate(linbp.Model(module, input_size=(3, 32, 32)))

    def rule(gradient: torch.Tensor, attention: AttentionGradients) -> tuple[torch.Tensor, ...]:
        return attention.from_logits(gradient, 2 * attention.logits_gradient(gradient).clamp(min=0))

    both = surrogate.with_rule([linbp.LinBP(start=0), Given(lambda s: Plan(attentions={0: rule}))])
    found = both.gradient(images(), LABELS)
    start = images().requires_grad_()
    value = module.stem(start).flatten(2).transpose(1, 2)
    fork = value.detach().requires_grad_()
    ordinary = module.branch(fork)
    total = (fork + ordinary).mean(1)
    loss = functional.cross_entropy(module.head(total), LABELS, reduction="sum")
    (at_sum,) = torch.autograd.grad(loss, total, retain_graph=True)
    at_sum = at_sum[:, None].expand_as(fork) / fork.shape[1]
    (v,) = torch.autograd.grad(ordinary, fork, at_sum)
    module.at_logits, module.linear = lambda gradient: 2 * gradient.clamp(min=0), True
    (u,) = torch.autograd.grad(module.branch(fork), fork, at_sum)
    alpha = v.flatten(1).norm(dim=1) / u.flatten(1).norm(dim=1)
    (expected,) = torch.autograd.grad(value, start, at_sum + alpha.view(-1, 1, 1) * u)
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_a_tensor_behind_a_module_by_its_path(network: tuple[str, nn.Module, linbp.Surrogate]) -> None:
    _name, module, surrogate = network
    path = next(path for path in surrogate.structure.outputs if path.endswith(("mlp", "2.mlp")) or ".mlp" in path)
    eager = copy.deepcopy(module)
    eager.get_submodule(path).register_forward_hook(
        lambda _, __, output: changed(output, lambda gradient: gradient - gradient.mean((1, 2), keepdim=True))
    )
    expected = eager_gradient(eager)
    check(
        surrogate,
        lambda s: Plan(tensors={s.outputs[path].node: lambda gradient: gradient - gradient.mean((1, 2), keepdim=True)}),
        expected,
    )


def test_what_lies_inside_an_attention_that_a_rule_treats_as_a_whole_cannot_be_read() -> None:
    module = seeded(lambda: fused(timm_vit(), False))
    surrogate = linbp.Surrogate(linbp.Model(module, input_size=(3, 32, 32)))
    hidden = next(path for path in surrogate.structure.outputs if path.endswith("attn_drop"))
    keep = Given(lambda s: Plan(attentions={0: lambda gradient, attention: attention.ordinary(gradient)}))
    with pytest.raises(RuleError) as caught:
        surrogate.with_rule(keep).reading([hidden])
    assert hidden in caught.value.message


def test_two_rules_on_one_tensor_act_one_after_the_other_and_on_one_attention_are_refused() -> None:
    module = seeded(densenet)
    surrogate = linbp.Surrogate(linbp.Model(module, input_size=(3, 32, 32)))
    node = surrogate.structure.outputs["features.pool0"].node
    twice = [
        Given(lambda s: Plan(tensors={node: lambda gradient: gradient + 1e-3})),
        Given(lambda s: Plan(tensors={node: lambda gradient: gradient * 3})),
    ]
    once = Given(lambda s: Plan(tensors={node: lambda gradient: (gradient + 1e-3) * 3}))
    expected = surrogate.with_rule(once).gradient(images(), LABELS)
    assert torch.equal(surrogate.with_rule(twice).gradient(images(), LABELS), expected)
    keep = Plan(attentions={0: lambda gradient, attention: attention.ordinary(gradient)})
    with pytest.raises(RuleError):
        _ = keep + keep


def test_the_start_of_a_branch_is_a_place(network: tuple[str, nn.Module, linbp.Surrogate]) -> None:
    """A branch passes gradients linearly, so a constant at its start is one at its end."""
    _, _, surrogate = network
    plain = surrogate.gradient(images(), LABELS)
    chosen = surrogate.junctions[len(surrogate.junctions) // 2].index

    def gradient(factor: float, place: str) -> torch.Tensor:
        planned = {place: {chosen: lambda gradient: gradient * factor}}
        return surrogate.with_rule(Given(lambda structure: Plan(**planned))).gradient(images(), LABELS)  # type: ignore[arg-type]

    assert torch.equal(gradient(1.0, "starts"), plain)
    for factor in (0.0, 0.3):
        assert torch.allclose(gradient(factor, "starts"), gradient(factor, "edges"), rtol=1e-9, atol=1e-12)
    assert not torch.allclose(gradient(0.3, "starts"), plain)


def test_where_query_key_and_value_come_from(network: tuple[str, nn.Module, linbp.Surrogate]) -> None:
    """One layer for all three in timm; torchvision's ViT has heads beside the images by then, so three tensors."""
    name, _, surrogate = network
    for attention in surrogate.attentions:
        assert len(attention.projections) == (3 if name == "torchvision ViT" else 1)
    tgr = surrogate.with_rule(linbp.TGR()).gradient(images(), LABELS)
    alone = torch.cat([surrogate.with_rule(linbp.TGR()).gradient(images()[[i]], LABELS[[i]]) for i in (0, 1)])
    assert torch.allclose(tgr, alone, rtol=1e-9, atol=1e-12)
