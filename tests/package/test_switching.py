"""docs/switching.md tells the truth: both sides of every pair are run as they stand on the page."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import itertools
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from oracles import naive_clef, released_clef
from torch import Tensor

import ecgloss
import ecgloss.functional as F

PAGE = Path(__file__).resolve().parents[2] / "docs" / "switching.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCK = re.compile(r"(?P<not_run><!-- not run -->\n)?^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
RELATION = re.compile(r"^# = (.*)$", re.MULTILINE)
SOLO_FILES = ("simclr", "moco", "byol")
REASON = "installed by `make peers`"


@dataclass(frozen=True)
class Pair:
    """What to write instead of what; ``relation`` gives the new value in terms of the old."""

    package: str
    before: str
    after: str

    @property
    def relation(self) -> str:
        found = RELATION.search(self.after)
        return found[1] if found else "before"


def sections() -> dict[str, list[re.Match[str]]]:
    """Blocks below each heading; those above the first are the shared tensors."""
    parts = re.split(r"^## (.*)$", TEXT, flags=re.MULTILINE)
    return dict(zip(["", *parts[1::2]], (list(BLOCK.finditer(part)) for part in parts[::2])))


def pairs() -> list[Pair]:
    """A block that is not run is the old way, the next one the new way."""
    return [
        Pair(package, old["code"], new["code"])
        for package, found in sections().items()
        for old, new in itertools.pairwise(found)
        if old["not_run"]
    ]


def tensors() -> dict[str, Any]:
    torch.manual_seed(3)  # forked off by the fixture below
    names: dict[str, Any] = {}
    exec(sections()[""][0]["code"], names)
    return names


@pytest.fixture(autouse=True)
def _own_random_state():
    with torch.random.fork_rng():
        yield


def loss_and_gradients(loss: Tensor, names: dict[str, Any]) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    inputs = [names[name] for name in ("z1", "z2", "p1", "p2")]
    return loss.detach(), torch.autograd.grad(loss, inputs, allow_unused=True, retain_graph=True)


def assert_same(old: Tensor, new: Tensor, names: dict[str, Any]) -> None:
    (theirs, their_gradients), (mine, my_gradients) = (loss_and_gradients(x, names) for x in (old, new))
    torch.testing.assert_close(mine, theirs, rtol=5e-6, atol=1e-6)  # fp32 sums of up to 96 terms in another order
    assert any(gradient is not None for gradient in my_gradients)
    for a, b in zip(my_gradients, their_gradients):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)  # differences of such sums


def stacked_simclr(z: Tensor, indexes: Tensor, temperature: float = 0.1) -> Tensor:
    """The formula of solo-learn after 1.0.2: -log( sum of positives / sum of positives and negatives )."""
    unit = z / z.norm(dim=1, keepdim=True)
    rows = []
    for i, x in enumerate(unit):
        e = {k: torch.exp(x @ y / temperature) for k, y in enumerate(unit) if k != i}
        positive = torch.stack([e[k] for k in e if indexes[k] == indexes[i]] or [torch.zeros(())]).sum()
        rows.append(-torch.log(positive / torch.stack(list(e.values())).sum()))
    return torch.stack(rows).mean()


def solo_files() -> dict[str, Callable[..., Tensor]]:
    """The three losses, each from its own file: the package itself imports lightning 1.4 and more."""
    spec = importlib.util.find_spec("solo")
    folder = Path(next(iter(spec.submodule_search_locations or [""]))) / "losses" if spec else None
    if folder is None or not all((folder / f"{name}.py").is_file() for name in SOLO_FILES):
        pytest.skip(f"solo-learn is {REASON}")
    functions = {}
    for name in SOLO_FILES:
        spec = importlib.util.spec_from_file_location(f"solo_losses_{name}", folder / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        functions[f"{name}_loss_func"] = getattr(module, f"{name}_loss_func")
    return functions


@pytest.fixture
def install(monkeypatch) -> Callable[[str], None]:
    """Make a package of the page importable, or skip."""

    def solo(functions: dict[str, Callable[..., Tensor]]) -> None:
        package, losses = ModuleType("solo"), ModuleType("solo.losses")
        vars(losses).update(functions)
        monkeypatch.setitem(sys.modules, "solo", package)
        monkeypatch.setitem(sys.modules, "solo.losses", losses)

    def peer(package: str) -> None:
        if package == "solo-learn 1.0.2":
            solo(solo_files())
        elif package == "solo-learn after 1.0.2":
            solo({"simclr_loss_func": stacked_simclr})
        else:
            name = package.replace("-", "_")
            pytest.importorskip(f"{name}.losses" if "metric" in name else f"{name}.loss", reason=f"{package}: {REASON}")

    return peer


@pytest.mark.parametrize("pair", pairs(), ids=lambda pair: f"{pair.package}: {pair.after.splitlines()[0][:60]}")
def test_the_new_line_gives_what_the_old_one_gave(pair, install):
    install(pair.package)
    old, new = tensors(), tensors()
    new.update((name, old[name]) for name in ("z1", "z2", "p1", "p2"))  # gradients are taken in the same tensors
    exec(pair.before, old)
    exec(pair.after, new)
    assert_same(eval(pair.relation, {**new, "before": old["loss"]}), new["loss"], new)


def test_every_package_of_the_page_is_compared():
    compared = [pair.package for pair in pairs()]
    assert {package: compared.count(package) for package in compared} == {
        "lightly": 3,
        "pytorch-metric-learning": 2,
        "solo-learn 1.0.2": 4,
        "solo-learn after 1.0.2": 2,
    }


def test_clef_is_that_of_the_authors_script():
    alone, masked = (match["code"] for match in sections()["The CLEF authors' script"])
    names = tensors()
    names["risk"][::5] = torch.nan
    z1, z2, risk = (names[name] for name in ("z1", "z2", "risk"))
    exec(alone, names)
    assert_same(released_clef(z1, z2, risk, epsilon=0.0), names["loss"], names)
    exec(masked, names)
    options = {"weight_norm": "softmax", "similarity": "minmax", "nan_risk": "zero"}
    halves = {"contrastive_weight": 0.5, "align_weight": 0.5}
    assert_same(naive_clef(z1, z2, risk, names["missing"], **options, **halves), names["loss"], names)
    with pytest.raises(ValueError, match="risk must not be infinite"):
        names["criterion"](z1, z2, torch.full((32,), torch.inf))


def test_default_temperatures_are_those_of_the_table(install):
    rows = re.findall(r"^\| (`.*`) \| ([\d.]+) \|$", TEXT, re.MULTILINE)
    named = [(name, float(value)) for names, value in rows for name in re.findall(r"`([\w.]+)`", names)]
    assert len(named) == 9
    seen = []
    if importlib.util.find_spec("solo") is not None:
        install("solo-learn 1.0.2")
    for name, value in named:
        module, _, attribute = name.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError:
            continue  # its own row is checked where it is installed
        default = inspect.signature(found).parameters["temperature"].default
        if default == "preset":
            default = found().options.temperature
        assert default == value, name
        seen.append(name)
    assert len(seen) >= 4


@pytest.fixture
def lightly_moco() -> Any:
    loss = pytest.importorskip("lightly.loss", reason=f"lightly: {REASON}")
    return loss.NTXentLoss(temperature=0.1, memory_bank_size=(8, 4))


def test_lightlys_bank_holds_the_same_keys_while_batches_fit_and_drops_some_where_they_do_not(lightly_moco, rng):
    mine = ecgloss.MoCoLoss(width=4, size=8, temperature=0.1)
    mine.queue.copy_(lightly_moco.memory_bank.bank)
    for _ in range(5):
        q, k = torch.randn(2, 4, 4, generator=rng)
        q.requires_grad_()
        torch.testing.assert_close(mine(q, k), lightly_moco(q, k), rtol=5e-6, atol=1e-6)  # fp32
    q, k = torch.randn(2, 6, 4, generator=rng)
    for rows in (slice(3), slice(3, 6)):  # into places 4, 5, 6 and then 7, 0, 1
        mine(q[rows], k[rows]), lightly_moco(q[rows].requires_grad_(), k[rows])
    keys = torch.nn.functional.normalize(k, dim=1)
    banks = (mine.queue, lightly_moco.memory_bank.bank)
    held = [[bool((bank - key).norm(dim=1).min() < 1e-6) for key in keys] for bank in banks]
    assert held == [[True] * 6, [True] * 4 + [False] * 2]
    assert "queue" in mine.state_dict()
    assert not any("bank" in name for name in lightly_moco.state_dict())


def test_what_writes_the_queue_is_the_mode_here_and_the_gradient_in_lightly(lightly_moco, rng):
    q, k = torch.randn(2, 4, 4, generator=rng)
    mine = ecgloss.MoCoLoss(width=4, size=8)
    bank, queue = lightly_moco.memory_bank.bank.clone(), mine.queue.clone()
    lightly_moco(q, k), mine.eval()(q.requires_grad_(), k)
    assert torch.equal(lightly_moco.memory_bank.bank, bank)
    assert torch.equal(mine.queue, queue)
    lightly_moco.eval()(q, k), mine.train()(q.detach(), k)
    assert not torch.equal(lightly_moco.memory_bank.bank, bank)
    assert not torch.equal(mine.queue, queue)


@pytest.fixture
def metric_learning() -> Any:
    return pytest.importorskip("pytorch_metric_learning.losses", reason=f"pytorch-metric-learning: {REASON}")


def test_self_supervised_wrapper_of_metric_learning_is_ntxent(metric_learning, rng):
    z1, z2 = torch.randn(2, 8, 4, generator=rng)
    theirs = metric_learning.SelfSupervisedLoss(metric_learning.NTXentLoss(temperature=0.1))(z1, z2)
    torch.testing.assert_close(F.ntxent(z1, z2, temperature=0.1), theirs, rtol=5e-6, atol=1e-6)  # fp32


def test_metric_learnings_ntxent_ends_where_this_one_goes_on(metric_learning):
    z1 = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    z2 = torch.tensor([[0.0, 1.0], [1.0, 0.0]])  # each looks like the other's
    theirs = metric_learning.NTXentLoss(temperature=0.01)(torch.cat([z1, z2]), torch.tensor([0, 1, 0, 1]))
    assert theirs.item() == pytest.approx(87.34, abs=0.01)
    assert torch.autograd.grad(theirs, z1)[0].abs().max() < 1e-3
    mine = F.ntxent(z1, z2, temperature=0.01)
    assert mine.item() == pytest.approx(100, abs=1e-3)
    assert torch.autograd.grad(mine, z1)[0].abs().max() > 1


def test_metric_learnings_supcon_leaves_out_solved_rows_and_batches_of_one_label(metric_learning):
    z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.5, 0.9]])
    labels = torch.tensor([0, 0, 1, 1, 2])  # 0 is solved, 2 is alone
    theirs = metric_learning.SupConLoss(temperature=0.01)(z, labels)
    mine = F.supcon(z, labels, temperature=0.01, return_terms=True)
    assert mine.rows[:2].tolist() == [0.0, 0.0]
    assert mine.rows[2:4].min() > 0
    torch.testing.assert_close(theirs, mine.rows.sum() / 2, rtol=5e-6, atol=1e-6)  # fp32
    torch.testing.assert_close(mine.loss, mine.rows.sum() / 4)
    one = torch.zeros(5, dtype=torch.int64)
    assert metric_learning.SupConLoss()(z, one) == 0
    assert F.supcon(z, one) > 0


def test_rows_without_positives_do_not_make_the_loss_infinite(rng):
    z, indexes = torch.randn(5, 4, generator=rng), torch.tensor([0, 0, 1, 1, 2])
    assert torch.isinf(stacked_simclr(z, indexes))
    assert torch.isfinite(F.supcon(z, indexes, positives="sum_in"))


def test_solo_learns_byol_is_the_function_of_one_direction(install):
    functions = solo_files()
    names = tensors()
    for simplified in (True, False):
        theirs = functions["byol_loss_func"](names["p1"], names["t2"], simplified=simplified)
        assert_same(theirs, F.byol(names["p1"], names["t2"]), names)
