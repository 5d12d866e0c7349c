"""What every family of adaptive networks has to show, as tests that a family's class inherits."""

import pytest
import torch

from leadgrad.victims import (
    FGM,
    LGM,
    Sigmoid,
    deciding_as,
    executed_share,
    gradient_method,
    prepare_for_attack,
    record_decisions,
    record_occupancies,
)
from leadgrad.victims.networks.network import unit_costs

SOFT = LGM(Sigmoid(2.0))
STRAIGHT = LGM(Sigmoid(2.0), forward="hard")


class FamilyContract:
    """Tests of one family. A subclass writes ``network`` and ``reference``.

    Attributes:
        size: Of the images' sides.
        sloped: Whether a steep surrogate has FGM's decisions; k-WTA at ties may not.
        compiles: Whether the frozen network compiles as one graph.
        varies: Whether the number of executed units may differ between samples.
    """

    size = 8
    compiles = True
    varies = True

    def network(self):
        """In float64, in evaluation mode, of random weights, with decisions of both kinds."""
        raise NotImplementedError

    def reference(self, weights, image):
        """Logits (K,) of one image (3, H, W), and its decisions, a bool tensor per gate.

        Written without the package, from the state dict; leaves out what is not executed.
        """
        raise NotImplementedError

    def images(self, count=6):
        """In [0, 1], of different contrast."""
        generator = torch.Generator().manual_seed(1)
        scale = torch.linspace(0.2, 1, count, dtype=torch.float64).view(-1, 1, 1, 1)
        shape = (count, 3, self.size, self.size)
        return scale * torch.rand(shape, generator=generator, dtype=torch.float64)

    def test_some_units_execute_and_some_do_not(self):
        made = self.network()
        with record_occupancies(made) as record:
            made(self.images())
        units = torch.cat([each.reshape(len(each), -1) for each in record], 1)
        assert 0 < int(units.sum()) < units.numel()
        assert bool((units[0] != units).any()), "or no attack could change a decision"

    def test_frozen_is_the_reference_that_really_skips(self):
        made, x = self.network(), self.images()
        with record_occupancies(made) as record:
            logits = made(x)
        for row, image in enumerate(x):
            expected, decisions = self.reference(made.state_dict(), image)
            torch.testing.assert_close(logits[row], expected)
            assert len(record) == len(decisions)
            for own, decision in zip(record, decisions, strict=True):
                assert torch.equal(own[row].flatten(), decision.flatten())

    def test_the_led_gradient_is_the_derivative_of_the_soft_forward(self):
        made, x = self.network(), self.images(2).requires_grad_()
        direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(3)).double()

        def value(images):
            with gradient_method(made, SOFT):
                return made(images).sin().sum()

        (gradient,) = torch.autograd.grad(value(x), x)
        step = 1e-6
        with torch.no_grad():
            slope = (value(x + step * direction) - value(x - step * direction)) / (2 * step)
        assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=2e-3)

    def test_the_lead_is_there(self):
        made, x = self.network(), self.images().requires_grad_()
        with gradient_method(made, STRAIGHT), record_decisions(made) as decisions:
            straight = made(x)
        assert torch.equal(straight, made(x)) or torch.allclose(straight, made(x), atol=1e-10)
        margins = [each.margin for each in decisions if each.margin.isfinite().all()]
        found = torch.autograd.grad(straight.sin().sum(), margins, allow_unused=True)
        assert any(own is not None and bool(own.any()) for own in found)

    def test_a_steep_surrogate_is_frozen(self):
        made, x = self.network(), self.images()
        with gradient_method(made, LGM(Sigmoid(1e9))):
            steep = made(x)
        torch.testing.assert_close(steep, made(x), atol=1e-6, rtol=1e-5)

    @pytest.mark.parametrize("method", [FGM(), SOFT])
    def test_a_sample_does_not_depend_on_its_batch(self, method):
        made, x = self.network(), self.images()
        with gradient_method(made, method), record_occupancies(made) as record:
            whole = made(x)
            alone = torch.cat([made(x[row : row + 1]) for row in range(len(x))])
        torch.testing.assert_close(whole, alone)
        gates = len(record) // (len(x) + 1)
        for number in range(gates):
            rows = torch.cat([record[gates * (row + 1) + number] for row in range(len(x))])
            assert torch.equal(record[number], rows)

    def test_it_is_prepared_without_a_change(self):
        made, x = self.network(), self.images()
        torch.testing.assert_close(prepare_for_attack(made)(x), made(x))

    def test_decisions_can_be_foreseen(self):
        made, x = self.network(), self.images()
        there = x.flip(0)
        with deciding_as(made, lambda: made(there)), record_decisions(made) as decisions:
            made(x)
        with record_occupancies(made) as expected:
            made(there)
        # A gate behind another one sees another input than there, and still decides as there
        for own, hard in zip(decisions, expected, strict=True):
            assert torch.equal(own.occupancy.detach().bool(), hard)

    def test_compute_is_counted(self):
        made, x = self.network(), self.images()
        with record_occupancies(made) as record:
            made(x)
        assert len(unit_costs(made, len(record))) == len(record)
        share = executed_share(made, [units.double() for units in record])
        assert bool(((share >= 0) & (share <= 1)).all())
        spent, total = made.conditional_macs(record), made.conditional_macs_total()
        if total is not None:
            assert spent.dtype == torch.int64
            assert bool((spent <= total).all())
        assert (len(set(share.tolist())) > 1) == self.varies

    def test_it_compiles(self):
        if not self.compiles:
            pytest.skip("it branches on data")
        torch._dynamo.reset()
        made, x = self.network(), self.images(2)
        compiled = torch.compile(made, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), made(x))
        torch._dynamo.reset()
