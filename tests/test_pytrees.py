import jax
import jax.numpy as jnp
import numpy as np

from downslope import pytrees

TREE = {
    "b": [jnp.array([3.0, 4.0]), jnp.array([[1.0, 2.0], [2.0, 4.0]])],
    "a": jnp.array(12.0),
    "n": jnp.array([7], jnp.int32),
}
FLOATS = {"b": TREE["b"], "a": TREE["a"]}
FLAT = np.array([3, 4, 1, 2, 2, 4, 12.0])


def test_dot_and_norm():
    np.testing.assert_allclose(pytrees.dot(FLOATS, FLOATS), FLAT @ FLAT)
    np.testing.assert_allclose(pytrees.norm(FLOATS), np.linalg.norm(FLAT))
    assert pytrees.norm({}) == 0
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), FLOATS)
    assert pytrees.norm(half).dtype == jnp.float32


def test_half_precision_is_summed_in_float32():
    ones = jnp.ones(10_000, jnp.float16)  # whose squares do not fit into float16
    np.testing.assert_allclose(pytrees.dot(10 * ones, 10 * ones), 1e6)


def test_dot_of_mixed_dtypes():
    with jax.enable_x64(True):
        tree = [jnp.array([3.0], jnp.float64), jnp.array([4.0], jnp.float32)]
        np.testing.assert_allclose(pytrees.norm(tree), 5.0)


def test_zeros_and_count():
    zeros = pytrees.zeros_like(TREE)
    assert jax.tree.structure(zeros) == jax.tree.structure(TREE)
    assert all(not leaf.any() for leaf in jax.tree.leaves(zeros))
    assert zeros["n"].dtype == jnp.int32
    assert pytrees.count(TREE) == 8
    assert pytrees.count({}) == 0


def test_cast_leaves_integers_and_keys_alone():
    tree = {**TREE, "flag": jnp.array([True]), "key": jax.random.key(0)}
    cast = pytrees.cast(tree, jnp.bfloat16)
    assert cast["a"].dtype == cast["b"][0].dtype == jnp.bfloat16
    assert (cast["n"].dtype, cast["flag"].dtype) == (jnp.int32, jnp.bool_)
    assert cast["key"].dtype == tree["key"].dtype


def test_all_finite():
    assert pytrees.all_finite(TREE)
    assert pytrees.all_finite({"n": jnp.array([1])})
    for bad in (jnp.nan, jnp.inf, -jnp.inf):
        assert not pytrees.all_finite({**TREE, "a": jnp.array([1.0, bad])})


def test_paths_are_in_the_order_of_the_leaves():
    assert pytrees.paths(TREE) == ["a", "b/0", "b/1", "n"]
    named = dict(zip(pytrees.paths(TREE), jax.tree.leaves(TREE), strict=True))
    np.testing.assert_array_equal(named["b/1"], TREE["b"][1])
