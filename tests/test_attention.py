"""The real softmax attention: weights and their read-out, prompts, sampled risk, population gradients."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from cases import oracle
from headflow import Problem
from headflow.errors import InputError, InputTypeError
from headflow.numerics import (
    AttentionWeights,
    attention_risk,
    compile_system,
    off_diagonal_test,
    population_gradient,
    sampled_risk,
)
from headflow.numerics.attention import conditional, model, off_diagonal
from headflow.numerics.attention.backends import make_backend
from headflow.numerics.attention.prompts import Data, draw, draw_jax, draw_scored, generator
from headflow.numerics.attention.risk import acting_weights
from headflow.numerics.attention.starts import multi_task_start, small_start, structured_start
from headflow.numerics.attention.weights import factors, random_rotation
from headflow.theory import gradient_flow
from oracles.monte_carlo import attention_risk as oracle_risk

JAX = pytest.param("jax", marks=pytest.mark.slow)  # it compiles for seconds
SMALL = Problem(dims=[3, 2], signal_power=[1, 2], noise_variance="0.1", context_length=7, n_heads=2)
UNEVEN = Problem(dims=[5, 8], signal_power=[1, "0.7"], noise_variance="0.1", context_length=200, n_heads=2)
MU = np.array([[2.0, 0.4], [0.3, 2.0]])
OMEGA = np.array([[0.3, 0.05], [0.06, 0.25]])


def general(problem: Problem, seed: int, split: bool = False) -> AttentionWeights:
    """Weights without any structure."""
    rng = np.random.default_rng(seed)
    shape = (problem.n_heads, problem.embedding_dim, problem.embedding_dim)
    if split:
        return AttentionWeights.split(problem, *(0.4 * rng.standard_normal(shape) for _ in range(4)))
    return AttentionWeights.merged(problem, 0.3 * rng.standard_normal(shape), 0.5 * rng.standard_normal(shape))


def rotated(problem: Problem) -> tuple[AttentionWeights, np.ndarray]:
    """Decomposable weights with unequal eigenvalues inside a task, in a rotated frame."""
    rotation = random_rotation(problem, 3)
    spread = np.random.default_rng(5).uniform(0.5, 1.5, (problem.total_dim, problem.n_heads))
    omega = OMEGA[np.repeat([0, 1], problem.dims)] * spread
    return AttentionWeights.spectral(problem, MU, omega, rotation), rotation


# Weights.


def test_spectral_weights_entry_by_entry():
    weights = AttentionWeights.spectral(SMALL, MU, OMEGA)
    for head in range(2):
        np.testing.assert_array_equal(np.diag(weights.key_query[head]), [*OMEGA[[0, 0, 0, 1, 1], head], 0, 0])
        np.testing.assert_array_equal(np.diag(weights.output_value[head]), [0, 0, 0, 0, 0, *MU[:, head]])
    for matrices in (weights.key_query, weights.output_value):
        assert not (matrices * (1 - np.eye(7))).any()


@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("imbalance", [None, np.array([[[0.3, -0.2], [0, 1]], [[-0.4, 0.1], [2, 0]]])])
def test_factors_multiply_to_merged_weights_and_read_out(rotate, imbalance):
    mu, omega = np.array([[2.0, -0.4], [0.0, 1.0]]), np.array([[0.3, 0.05], [-0.06, 0.0]])
    rotation = random_rotation(SMALL, 1) if rotate else None
    merged = AttentionWeights.spectral(SMALL, mu, omega, rotation)
    split = AttentionWeights.spectral(SMALL, mu, omega, rotation, "split", imbalance)
    assert (len(split.parts), split.is_split, merged.is_split) == (4, True, False)
    np.testing.assert_allclose(split.key_query, merged.key_query, atol=1e-15)
    np.testing.assert_allclose(split.output_value, merged.output_value, atol=1e-15)
    key, query, value, output = split.parts
    delta, gamma = np.zeros((2, 2, 2)) if imbalance is None else imbalance
    labels = np.diagonal(output**2 - value**2, axis1=1, axis2=2)[:, 5:].T
    np.testing.assert_allclose(labels, delta, atol=1e-14)
    gram = key @ np.swapaxes(key, 1, 2) - query @ np.swapaxes(query, 1, 2)
    np.testing.assert_allclose(np.diagonal(gram, axis1=1, axis2=2)[:, :5].T, gamma[[0, 0, 0, 1, 1]], atol=1e-14)
    for weights in (merged, split):
        found = weights.spectrum(rotation)
        np.testing.assert_allclose(found.mu, mu, atol=1e-15)
        np.testing.assert_allclose(found.omega, omega, atol=1e-15)
        assert max(*found.off_diagonal, found.spread.max()) < 1e-15


def test_factors_do_not_cancel():
    first, second = factors(np.array([1e-9, -1e-9, 0.0]), np.array([-1.0, 1.0, -4.0]))
    np.testing.assert_allclose(first * second, [1e-9, -1e-9, 0.0], rtol=1e-14)
    np.testing.assert_allclose((first - second) * (first + second), [-1.0, 1.0, -4.0], rtol=1e-14)


def test_read_out_sees_what_is_off_diagonal():
    weights, rotation = rotated(UNEVEN)
    assert weights.spectrum(rotation).off_diagonal[0] < 1e-14
    assert weights.spectrum().off_diagonal[0] > 0.1
    assert weights.spectrum(rotation).spread.max() > 0.01
    key_query, output_value = np.array(weights.key_query), np.array(weights.output_value)
    key_query[0, 14, 2] = 0.2  # a label that enters a score
    output_value[1, 13, 3] = -0.4  # a covariate that enters the output
    key_query[0, 0, 14] = output_value[0, 0, 0] = 9.0  # entries that do not act
    planted = AttentionWeights.merged(UNEVEN, key_query, output_value).spectrum(rotation).off_diagonal
    kept, shown = np.linalg.norm(weights.key_query), np.linalg.norm(MU)
    assert planted[0] == pytest.approx(0.2 / math.hypot(0.2, kept), rel=1e-12)
    assert planted[1] == pytest.approx(0.4 / math.hypot(0.4, shown), rel=1e-12)


def test_weights_refuse_what_does_not_fit():
    with pytest.raises(InputError, match="mu must have the shape"):
        AttentionWeights.spectral(SMALL, MU[:1], OMEGA)
    with pytest.raises(InputError, match="orthogonal"):
        AttentionWeights.spectral(SMALL, MU, OMEGA, 2 * np.eye(5))
    with pytest.raises(InputError, match="block-diagonal"):
        AttentionWeights.spectral(SMALL, MU, OMEGA, np.eye(5)[::-1])
    with pytest.raises(InputError, match="finite"):
        AttentionWeights.spectral(SMALL, MU * np.nan, OMEGA)
    with pytest.raises(InputTypeError, match="real numbers"):
        AttentionWeights.merged(SMALL, "W", "U")
    with pytest.raises(InputError, match="the weights are for dims"):
        attention_risk(UNEVEN, AttentionWeights.spectral(SMALL, MU, OMEGA))


def test_published_starts():
    problem = SMALL.replace(n_heads=3)
    scale = 7**-0.75
    start = multi_task_start(problem)
    found = start.spectrum()
    np.testing.assert_allclose(found.omega, scale**2 / math.sqrt(7))
    np.testing.assert_allclose(found.mu, scale**2 * np.array([[4, 1, 4], [1, 4, 1]]))
    np.testing.assert_array_equal(start.parts[3], np.swapaxes(start.parts[2], 1, 2))
    assert found.off_diagonal == (0.0, 0.0)
    drawn = multi_task_start(problem, gaussian_seed=4).spectrum().omega
    normal = np.random.default_rng(4).standard_normal(3)
    np.testing.assert_allclose(drawn, np.broadcast_to(scale**2 * normal**2 / math.sqrt(7), (2, 3)))
    eigenvalues = structured_start(problem, 0.3)
    assert eigenvalues.is_split
    np.testing.assert_allclose(eigenvalues.spectrum().mu, 0.3 * np.array([[2, 1, 2], [1, 2, 1]]))
    np.testing.assert_allclose(structured_start(problem).spectrum().omega, scale)
    np.testing.assert_array_equal(small_start(SMALL, "opposite", 0.02).spectrum().mu, [[0.02, -0.02]] * 2)
    assert small_start(SMALL, "random", 0.02).spectrum().off_diagonal[0] > 0.5
    with pytest.raises(InputError, match="did you mean 'opposite'"):
        small_start(SMALL, "oposite")


# Prompts.


@pytest.mark.parametrize("library", ["numpy", JAX])
def test_prompts_have_the_law_of_the_model(library):
    data, n = Data.of(SMALL), 20_000
    if library == "jax":
        jax = pytest.importorskip("jax")
        with jax.enable_x64(True):
            drawn = draw_jax(jax.random.key(0), data, n, "float64", labels=True)
        prompts = {name: np.asarray(value) for name, value in drawn.items()}
    else:
        prompts = draw(generator(0, 0, 0, 0), data, n, "float64", labels=True)
    tokens, query, target = prompts["tokens"], prompts["query"], prompts["target"]
    assert (tokens.shape, query.shape, target.shape) == ((n, 7, 7), (n, 5), (n, 2))
    everything = np.concatenate([tokens[:, 0], tokens[:, 1], query, target], axis=1)
    covariance = np.eye(21)
    for label, power in ((5, 1.0), (6, 2.0)):
        for place in (label, label + 7):
            covariance[place, place] = power + 0.1
        covariance[label + 14, label + 14] = power  # noise-free
    np.testing.assert_allclose(np.cov(everything.T), covariance, atol=0.08)
    # Given covariates and query, labels and target share the regressor: E y_l t = (λ_i/d_i) ⟨x_l, x_q⟩.
    for task, (start, stop, power) in enumerate(((0, 3, 1 / 3), (3, 5, 1.0))):
        inner = (tokens[:, 2, start:stop] * query[:, start:stop]).sum(axis=1)
        slope = (tokens[:, 2, 5 + task] * target[:, task] * inner).mean() / (inner**2).mean()
        assert slope == pytest.approx(power, rel=0.1)
    assert abs((tokens[:, 2, 5] * target[:, 1]).mean()) < 0.05


def test_prompts_are_functions_of_seed_step_and_block():
    def tokens(*place: int) -> np.ndarray:
        return draw(generator(*place), Data.of(SMALL), 2, "float64", labels=True)["tokens"]

    np.testing.assert_array_equal(tokens(5, 1, 7, 3), tokens(5, 1, 7, 3))
    places = [(5, 1, 7, 3), (6, 1, 7, 3), (5, 0, 7, 3), (5, 1, 8, 3), (5, 1, 7, 4), (5, 1, 3, 7)]
    assert len({tokens(*place).tobytes() for place in places}) == len(places)


# Forward pass and risk.


def test_forward_pass_against_loops_over_everything():
    weights = general(SMALL, 0, split=True)
    prompts = draw(generator(1, 0, 0, 0), Data.of(SMALL), 3, "float64", labels=True)
    expected = np.zeros((3, 2))
    for place in range(3):
        prediction = np.zeros(7)
        for key, query, value, output in zip(*weights.parts, strict=True):
            z_q = np.array([*prompts["query"][place], 0.0, 0.0])
            z = prompts["tokens"][place]
            scores = [(key @ token) @ (query @ z_q) / math.sqrt(7) for token in z]
            softmax = np.exp(scores) / np.exp(scores).sum()
            prediction += output @ value @ sum(p * token for p, token in zip(softmax, z, strict=True))
        expected[place] = (prediction[5:] - prompts["target"][place]) ** 2
    np.testing.assert_allclose(model.sampled_losses(np, prompts, *weights.acting), expected, rtol=1e-12)


@pytest.mark.parametrize("backend", ["numpy", JAX])
def test_averaged_losses_are_means_over_regressors_and_noise(backend):
    if backend == "jax":
        pytest.importorskip("jax")
    key_query, output_value = np.array(general(SMALL, 2).key_query), np.array(general(SMALL, 2).output_value)
    key_query[:, 5:] = output_value[:, :, :5] = 0.0
    weights = AttentionWeights.merged(SMALL, key_query, output_value)
    exact = attention_risk(SMALL, weights, 20_000, seed=1, backend=backend)
    key_query[0, 6, 0] = 1e-13  # too little to matter, but labels no longer average out
    drawn = attention_risk(SMALL, AttentionWeights.merged(SMALL, key_query, output_value), 40_000, seed=2)
    assert (exact.averaged, drawn.averaged) == (True, False)
    assert (np.abs(exact.tasks - drawn.tasks) < 3.5 * np.hypot(exact.task_errors, drawn.task_errors)).all()
    assert exact.value == pytest.approx(exact.tasks.sum(), rel=1e-12)


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("heads", ["any", "dependent", "many"])
def test_losses_given_the_scores_are_means_over_what_no_score_reads(heads, averaged):
    # Tokens with the drawn components along the frame and fresh ones across it have the same scores.
    problem = SMALL.replace(n_heads=8) if heads == "many" else SMALL
    read, write = (part.copy() for part in acting_weights(general(problem, 6), averaged))
    if heads == "dependent":
        read[1] = -2 * read[0]
    data, width, copies = Data.of(problem), read.shape[1], 40_000
    drawn = draw_scored(generator(2, 0, 0, 0), data, problem.n_heads, 1, "float64", not averaged)
    query = drawn["query"]
    probes = np.einsum("hwd,nd->nhw", read, query)
    through = np.eye(width)  # of standard normal numbers to tokens
    if not averaged:
        through[:5, 5:] = (data.task_of * drawn["regressor"]).T
        through[5:, 5:] *= math.sqrt(data.noise)
    coefficients, frames = conditional.frame_of_probes(np, probes @ through.T)
    frame = frames[0]
    np.testing.assert_allclose(coefficients @ frame.T, probes @ through.T, atol=1e-13)
    kept = [1, 0] if heads == "dependent" else np.ones(frame.shape[1])
    np.testing.assert_allclose(frame.T @ frame, np.diag(kept), atol=1e-13)
    across = np.random.default_rng(0).standard_normal((copies, 7, width))
    across -= across @ frame @ frame.T
    tokens = (np.swapaxes(drawn["along"], 1, 2) @ frame.T + across) @ through
    many = {"tokens": tokens, "query": np.repeat(query, copies, axis=0)}
    if averaged:
        losses = model.averaged_losses(np, data, many, read, write)
        found = conditional.averaged_losses(np, data, drawn, read, write)
    else:
        target = (query * drawn["regressor"]) @ data.task_of.T
        losses = model.sampled_losses(np, many | {"target": target}, read, write)
        found = conditional.sampled_losses(np, data, drawn, read, write)
    error = losses.std(axis=0) / math.sqrt(copies)
    assert (np.abs(found[0] - losses.mean(axis=0)) < 4 * error + 1e-10 * found[0]).all()
    assert (error < 0.02 * losses.mean(axis=0)).all()


def test_risk_against_the_oracle():
    ours = sampled_risk(UNEVEN, MU, OMEGA, n_samples=4000, seed=0)
    other = oracle_risk(MU, OMEGA, oracle(UNEVEN), 4000, 1)
    assert (np.abs(ours.tasks - other.tasks.mean) < 3.5 * np.hypot(ours.task_errors, other.tasks.error)).all()
    np.testing.assert_allclose(ours.task_errors, other.tasks.error, rtol=0.1)
    assert ours.standard_error == pytest.approx(other.total.error, rel=0.1)


def test_risk_does_not_depend_on_threads_nor_memory_on_the_number_of_prompts(monkeypatch):
    weights = AttentionWeights.spectral(UNEVEN, MU, OMEGA)
    several = attention_risk(UNEVEN, weights, 2000, backend="numpy")
    monkeypatch.setattr("headflow.numerics.attention.backends.usable_cores", lambda: 1)
    tracemalloc.start()
    peaks = []
    for count in (2000, 8000):
        tracemalloc.reset_peak()
        one = attention_risk(UNEVEN, weights, count, backend="numpy")
        peaks.append(tracemalloc.get_traced_memory()[1])
        if count == 2000:
            assert (one.value, one.standard_error) == (several.value, several.standard_error)
    tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] < 40e6


def test_single_precision_and_other_seeds():
    weights = general(SMALL, 7)
    double = attention_risk(SMALL, weights, 3000, seed=1, backend="numpy")
    single = attention_risk(SMALL, weights, 3000, seed=1, backend="numpy", dtype="float32")
    other = attention_risk(SMALL, weights, 3000, seed=2, backend="numpy")
    assert 0 < abs(single.value - other.value) < 5 * double.standard_error
    assert abs(single.value - double.value) < 5 * double.standard_error
    with pytest.raises(InputError, match="unknown dtype 'float16'"):
        attention_risk(SMALL, weights, dtype="float16")
    with pytest.raises(InputError, match="did you mean 'numpy'"):
        attention_risk(SMALL, weights, backend="nunpy")
    with pytest.raises(InputError, match="too large"):
        attention_risk(SMALL, AttentionWeights.spectral(SMALL, 1e200 * MU, OMEGA), 10)
    with pytest.raises(InputError, match="seed must be at least 0"):
        attention_risk(SMALL, weights, seed=-1)


# Gradients.


@pytest.mark.parametrize("averaged", [False, True])
def test_backward_pass_against_differences(averaged):
    weights = general(SMALL, 3)
    read, write = acting_weights(weights, averaged)
    data = Data.of(SMALL)
    prompts = draw(generator(0, 0, 0, 0), data, 20, "float64", not averaged)

    def loss(*parts):
        if averaged:
            return model.averaged_losses(np, data, prompts, *parts)
        return model.sampled_losses(np, prompts, *parts)

    engine = make_backend(SMALL, "numpy", "float64", 0, averaged)
    losses, *gradients = engine.gradient((read, write), (0, 0, 0), 20)
    np.testing.assert_allclose(losses, loss(read, write), rtol=1e-13)
    for which, gradient in enumerate(gradients):
        estimate = np.zeros_like(gradient)
        for entry in np.ndindex(gradient.shape):
            values = []
            for step in (1e-6, -1e-6):
                moved = [read.copy(), write.copy()]
                moved[which][entry] += step
                values.append(loss(*moved).sum())
            estimate[entry] = (values[0] - values[1]) / 2e-6
        np.testing.assert_allclose(gradient, estimate, atol=1e-7 * np.abs(gradient).max())


@pytest.mark.slow
@pytest.mark.parametrize("averaged", [False, True])
def test_backward_pass_against_automatic_derivatives(averaged):
    jax = pytest.importorskip("jax")
    parts = acting_weights(general(SMALL, 3), averaged)
    _, *gradients = make_backend(SMALL, "numpy", "float64", 0, averaged).gradient(parts, (0, 0, 0), 20)
    prompts = draw(generator(0, 0, 0, 0), Data.of(SMALL), 20, "float64", not averaged)

    def summed(parts):
        if averaged:
            return model.averaged_losses(jax.numpy, Data.of(SMALL), prompts, *parts).sum()
        return model.sampled_losses(jax.numpy, prompts, *parts).sum()

    with jax.enable_x64(True):
        for ours, automatic in zip(gradients, jax.grad(summed)(parts), strict=True):
            np.testing.assert_allclose(ours, automatic, atol=1e-12 * np.abs(ours).max())


def test_gradients_of_factors_are_those_of_their_products():
    weights = general(SMALL, 4, split=True)
    rng = np.random.default_rng(0)
    by_read, by_write = rng.standard_normal((2, 2, 7, 7))
    for which, gradient in enumerate(weights.through(by_read, by_write)):
        direction = rng.standard_normal(gradient.shape)
        values = []
        for step in (1e-6, -1e-6):
            parts = list(weights.parts)
            parts[which] = parts[which] + step * direction
            moved = weights.replaced(tuple(parts))
            values.append((by_read * moved.key_query).sum() + (by_write * moved.output_value).sum())
        assert (gradient * direction).sum() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-8)


def test_standard_errors_are_right():
    weights = general(SMALL, 5)
    first, second = (population_gradient(SMALL, weights, 2000, seed=seed, backend="numpy") for seed in (1, 2))
    for a, b, error_a, error_b in zip(first.parts, second.parts, first.errors, second.errors, strict=True):
        acts = error_a > 0
        apart = (a - b)[acts] / np.hypot(error_a, error_b)[acts]
        assert 0.75 < apart.std() < 1.25
    assert not first.parts[0][:, :, 5:].any()  # the query has no label
    with pytest.raises(InputError, match="averaged only where"):
        population_gradient(SMALL, weights, averaged=True)
    with pytest.raises(InputError, match="at least 1000"):
        population_gradient(SMALL, weights, 999)


@pytest.mark.parametrize("averaged", [False, True])
def test_decomposability_is_kept_by_the_population_gradient(averaged):
    weights, rotation = rotated(UNEVEN)
    prompts = 3000 if averaged else 6000
    gradient = population_gradient(UNEVEN, weights, prompts, seed=2, averaged=averaged, backend="numpy")
    values, errors = gradient.off_diagonal(rotation)
    drawn = errors > 0
    assert drawn.sum() >= 300
    assert not values[~drawn].any()
    assert np.abs(values[drawn] / errors[drawn]).max() < 4
    assert 0.9 < (values[drawn] / errors[drawn]).std() < 1.1
    values, errors = gradient.off_diagonal()  # in another frame it is not zero: the estimate would show it
    assert np.abs(values[errors > 0] / errors[errors > 0]).max() > 5


def test_what_is_large_by_chance_is_not_confirmed_and_what_is_there_is():
    weights, rotation = rotated(UNEVEN)
    chance = off_diagonal_test(UNEVEN, weights, 1000, 2, rotation=rotation, bound=2.5, backend="numpy")
    assert len(chance.candidates) == len(chance.confirmation) > 0
    assert 0.3 < len(chance.candidates) / chance.expected_candidates < 3
    assert (chance.n_samples, chance.n_confirming) == (1000, 4000)
    assert chance.holds
    assert chance.p_value > 0.01
    square, expected, scatter = chance.mean_square
    assert abs(square - expected) < 4 * scatter < 1
    assert "expected by chance; on 4000 other prompts" in chance.text()
    found = off_diagonal_test(UNEVEN, weights, 1000, 2, backend="numpy")  # in another frame
    assert not found.holds
    assert found.p_value < 1e-3
    assert found.to_json()["candidates"]


def test_off_diagonal_tests_without_entries_or_with_another_frame_are_refused():
    one = Problem(dims=[1], signal_power=[1], noise_variance="0.1", context_length=9, n_heads=1)
    with pytest.raises(InputError, match="no entry off the diagonal that could have a gradient"):
        off_diagonal_test(one, AttentionWeights.spectral(one, [[0.5]], [[0.2]]), 1000, backend="numpy")
    weights, _ = rotated(UNEVEN)
    for wrong in (np.ones(13), np.eye(12), np.ones((1, 1))):
        with pytest.raises(InputError, match=r"rotation must have the shape \(13, 13\)"):
            off_diagonal_test(UNEVEN, weights, rotation=wrong)
        with pytest.raises(InputError, match="rotation must have the shape"):
            weights.spectrum(wrong)


def test_the_confirming_sample_has_the_entries_of_the_first(monkeypatch):
    taken = []
    real = population_gradient

    def uneven(*arguments, **settings):
        found = real(*arguments, **settings)
        if not taken:
            found.groups[0][:, 0, 0, 1] = 0.0  # an entry without spread in the first sample only
        taken.append(found)
        return found

    monkeypatch.setattr(off_diagonal, "population_gradient", uneven)
    found = off_diagonal_test(UNEVEN, rotated(UNEVEN)[0], 1000, 2, bound=2.5, backend="numpy")
    values, errors = taken[1].off_diagonal()
    drawn = taken[0].off_diagonal()[1] > 0
    assert drawn.sum() < len(drawn)
    np.testing.assert_allclose(found.confirmation, (values[drawn] / errors[drawn])[found.candidates])


@pytest.mark.slow
def test_one_of_two_thousand_entries_beyond_four_errors_is_chance():
    # On 30 samples of 20,000 prompts (seeds 10 to 39) this entry's z, pooled, is −0.6, and 4 of 59,520 are beyond 4.
    problem = Problem(dims=[15, 15], signal_power=[1, 1], noise_variance="0.1", context_length=60, n_heads=2)
    weights, rotation = rotated(problem)
    found = off_diagonal_test(problem, weights, 6000, 2, rotation=rotation, averaged=False, backend="numpy")
    assert len(found.statistics) == 1984
    assert 4 < found.largest < 4.5
    assert 0.05 < found.p_value < 0.2
    assert found.holds


def test_the_mean_square_scatters_as_its_independent_entries_say():
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((100, 40))
    copies = np.repeat(shared, 3, axis=1)  # 120 entries, 40 of them independent
    assert off_diagonal._independent(copies / copies.std(axis=0, ddof=1)) == pytest.approx(40, rel=0.1)
    alone = rng.standard_normal((100, 500))
    assert off_diagonal._independent(alone / alone.std(axis=0, ddof=1)) == pytest.approx(500, rel=0.1)


@pytest.mark.parametrize("problem", [UNEVEN, UNEVEN.replace(context_length=400)], ids=["200", "400"])
def test_the_reduced_gradient_is_the_real_one(problem):
    gradient = population_gradient(problem, AttentionWeights.spectral(problem, MU, OMEGA), 5000, backend="numpy")
    mu, omega, mu_error, omega_error = gradient.spectral()
    predicted = {}
    for closure in ("leading", "first_order"):
        flow = compile_system(gradient_flow("merged", closure)).velocity.bind(problem.float_values())
        velocity = -flow(np.concatenate([MU.ravel(), OMEGA.ravel()])).reshape(2, 2, 2)
        predicted[closure] = velocity[0], velocity[1] * np.array(problem.dims)[:, None]
    for place, (measured, error) in enumerate(((mu, mu_error), (omega, omega_error))):
        leading, first = predicted["leading"][place], predicted["first_order"][place]
        # What first order leaves out is at most a part of what it corrects.
        assert (np.abs(measured - first) < 4 * error + 0.5 * np.abs(first - leading)).all()
        assert np.abs(measured - first).max() < 0.05 * np.abs(measured).max()
