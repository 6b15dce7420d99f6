"""What leaves the body is told, and what lies in it is not."""

import dataclasses

import numpy as np

from adreamer_jax.run.export import asset_skeleton
from benchmarks.skeletons import outside_of_links
from tests.run.capsule import make_asset


def test_links_of_a_capsule_lie_in_it_and_one_that_is_bent_past_it_does_not():
    asset = make_asset()
    skeleton = asset_skeleton(asset)
    inside = outside_of_links(asset, skeleton)
    assert len(inside) == 5 and inside.max() < 0.5
    middle = skeleton.middle + np.array([0.0, 0.5, 0.0])
    assert outside_of_links(asset, skeleton._replace(middle=middle)).min() > 2.0
    apart = asset.posed_from_rest.copy()
    apart[:, 0, 1, 3] += 1.0  # the mesh that is moved by its bones goes along
    gone = dataclasses.replace(asset, posed_from_rest=apart)
    assert outside_of_links(gone, skeleton).max() > inside.max()
    assert np.isfinite(outside_of_links(gone, skeleton)).all()
