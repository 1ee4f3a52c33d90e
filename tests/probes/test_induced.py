from __future__ import annotations

import pytest
import torch

from interp.calibration import planted_model as planted
from probes import filters, induced, verdict
from probes.algorithms import iterates as algorithms
from probes.algorithms.iterates import Algorithm, Problems
from probes.filters import FilterConfig
from probes.observations import Observations
from tasks.errors import UserError
from tasks.regression import InContextRegression

D, N, QUERIES = 4, 12, 12
NEWTON = Algorithm("newton", 4, "norm", {"alpha": 1.0})
CG = Algorithm("cg", 2)
SPECTRUM = [2.0, 1.0, 0.5, 0.2]


def draw(seed, count=300):
    gen = torch.Generator().manual_seed(seed)
    prompts = planted.prompts(SPECTRUM, N, count, QUERIES, 0.0, gen)
    return prompts, Problems.of(prompts.x, prompts.y, (N,)), gen


def exact_model(inputs, t, algorithm):
    """Reads an interleaved prompt token by token and answers at x_{t+1} with one iterate."""
    x, y = inputs[:, 0 : 2 * t + 1 : 2], inputs[:, 1 : 2 * t : 2, 0]
    return algorithms.predictions(Problems.of(x, y, (t,)), [algorithm])[0, :, 0]


def test_induced_weights_are_the_iterate_and_noise_is_not_called_weight():
    prompts, problems, gen = draw(0)
    clean = planted.outputs(problems, NEWTON, prompts.queries, 0.0, gen)
    exact = induced.induced_weights(prompts.queries, clean)
    assert torch.allclose(exact.weights, algorithms.weights(problems, [NEWTON])[0, :, 0], atol=1e-8)
    assert exact.nonlinear_share().high < 1e-12
    noisy = induced.induced_weights(
        prompts.queries, planted.outputs(problems, NEWTON, prompts.queries, 0.1, gen)
    )
    share = noisy.nonlinear_share()
    assert share.low < 0.1 / 1.1 < share.high


def test_an_output_bent_in_the_query_shows():
    prompts, problems, gen = draw(1)
    clean = planted.outputs(problems, NEWTON, prompts.queries, 0.0, gen)
    assert induced.induced_weights(prompts.queries, clean + 0.3 * clean.square()).nonlinear_share().low > 0.02


@pytest.mark.parametrize(("algorithm", "linear"), [(NEWTON, True), (CG, False)])
def test_superposition_of_labels_finds_what_is_not_a_filter(algorithm, linear):
    prompts, _, gen = draw(2)
    other = torch.randn(prompts.y.shape, generator=gen, dtype=torch.float64)
    parts = [
        planted.outputs(Problems.of(prompts.x, y, (N,)), algorithm, prompts.queries, 0.0, gen)
        for y in (prompts.y, other, prompts.y + other)
    ]
    share = induced.label_nonlinearity(*parts)
    assert share.high < 1e-12 if linear else share.low > 1e-3


def test_from_a_model_s_inputs_to_its_filter_and_back_to_its_linearity():
    t = 9
    task = InContextRegression(d=D, n=N, eigenvalues=tuple(SPECTRUM))
    batch = task.sample(0, "probe", 0, 400).double()
    gen = torch.Generator().manual_seed(3)
    queries = task.draw_x(gen, batch.basis.float(), QUERIES).double()
    probed = induced.probe_inputs(batch.inputs, 2 * t, queries)
    outputs = exact_model(probed.flatten(0, 1), t, NEWTON).reshape(400, QUERIES)
    outputs = outputs + 0.1 * outputs.std() * torch.randn(outputs.shape, generator=gen, dtype=torch.float64)
    problems = Problems.of(batch.x, batch.y, (t,))
    evidence = filters.judge(Observations.of(problems, queries, outputs), FilterConfig())
    assert "newton" in verdict.decide(evidence).families

    places = range(1, 2 * N, 2)
    labels = (batch.y, batch.y.flip(0), batch.y + batch.y.flip(0))
    parts = [exact_model(induced.relabelled(batch.inputs, places, 0, y), t, NEWTON)[:, None] for y in labels]
    assert induced.label_nonlinearity(*parts).high < 1e-12


def test_only_the_probed_x_changes():
    inputs = torch.randn(3, 5, 4)
    queries = torch.randn(3, 6, 3)
    probed = induced.probe_inputs(inputs, 2, queries)
    assert torch.equal(probed[:, :, 2, :3], queries)
    same = torch.ones(5, 4, dtype=torch.bool)
    same[2, :3] = False
    assert torch.equal(probed[:, :, same], inputs[:, None, same].expand(-1, 6, -1))


def test_bad_input_is_one_line():
    inputs, queries, out = torch.randn(3, 5, 4), torch.randn(3, 9, 4), torch.randn(3, 9)
    cases = [
        (
            lambda: induced.probe_inputs(inputs, 5, queries),
            r"position 5 is out of range: prompts have tokens 0 \.\. 4",
        ),
        (lambda: induced.probe_inputs(inputs[..., :2], 1, queries), "do not fit tokens of width 2"),
        (lambda: induced.relabelled(inputs, [1, 9], 0, torch.zeros(3, 2)), "position 9"),
        (lambda: induced.relabelled(inputs, [1, 3], 0, torch.zeros(3, 1)), "1 labels"),
        (lambda: induced.induced_weights(queries[:, :4], out[:, :4]), "at least 5"),
        (lambda: induced.induced_weights(queries, out * torch.nan), "NaN"),
    ]
    for call, words in cases:
        with pytest.raises(UserError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
