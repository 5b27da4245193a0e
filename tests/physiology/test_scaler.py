"""z-scores and principal components: of the training recordings alone, with unknown values."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.decomposition import PCA

from ecgloss.physiology import FeatureScaler

X = np.random.default_rng(0).normal([100.0, -2.0, 0.001, 5.0], [10.0, 1.0, 1e-4, 2.0], size=(60, 4))
NAMES = tuple("abcd")


def test_it_is_a_principal_component_analysis_of_z_scores():
    scaler = FeatureScaler.fit(X, components=3, names=NAMES)
    z = (X - X.mean(axis=0)) / X.std(axis=0)
    expected = PCA(3).fit_transform(z)
    assert np.allclose(np.abs(scaler.transform(X)), np.abs(expected))
    assert (scaler.components[np.arange(3), np.abs(scaler.components).argmax(axis=1)] > 0).all()


def test_unknown_values_count_as_the_mean_and_wholly_unknown_recordings_stay_unknown():
    x = X.copy()
    x[0, 1], x[1] = np.nan, np.nan
    scaler = FeatureScaler.fit(x, components=4, names=NAMES)
    assert np.isclose(scaler.unknown, 5 / 240)
    at_mean = x[:1].copy()
    at_mean[0, 1] = scaler.mean[1]
    assert np.allclose(scaler.transform(x[:1]), scaler.transform(at_mean))
    assert np.isnan(scaler.transform(x)[1]).all()
    assert np.isfinite(scaler.transform(x)[[0, 2]]).all()


def test_constant_and_unknown_columns_and_few_recordings():
    x = np.column_stack([X[:3, 0], np.full(3, 7.0), np.full(3, np.nan), X[:3, 3]])
    scaler = FeatureScaler.fit(x, names=NAMES)
    assert scaler.components.shape == (2, 4)
    changed = x.copy()
    changed[:, 2] = 1e9  # a feature that was unknown in training says nothing later
    assert np.isfinite(scaler.transform(x)).all()
    assert np.allclose(scaler.transform(changed), scaler.transform(x))


def test_it_survives_json_bit_for_bit():
    scaler = FeatureScaler.fit(X, components=2, names=NAMES)
    copy = FeatureScaler.from_json(json.loads(json.dumps(scaler.to_json())))
    assert np.array_equal(copy.transform(X), scaler.transform(X))
    with pytest.raises(ValueError, match="not the content of a feature scaler"):
        FeatureScaler.from_json({"names": ["a"]})
    with pytest.raises(ValueError, match="of 4 features has mean"):
        FeatureScaler.from_json({**scaler.to_json(), "mean": [1.0]})


@pytest.mark.parametrize(
    ("x", "components", "message"),
    [
        (X[:1], 2, "fitted on at least 2"),
        (X[:, :2], 2, r"must be \(recordings, 4\)"),
        (np.where(X > 100, np.inf, X), 2, "infinite"),
        (X, 0, "components must be at least 1"),
    ],
)
def test_what_cannot_be_fitted_is_refused(x, components, message):
    with pytest.raises(ValueError, match=message):
        FeatureScaler.fit(x, components=components, names=NAMES)
