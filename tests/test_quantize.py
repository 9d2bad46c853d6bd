from __future__ import annotations

import numpy as np
import pytest

from asrkit.quantize import BLOCK, joined, quantize, widened


def matrix(outputs, inputs, seed=0):
    return np.random.default_rng(seed).standard_normal((outputs, inputs)).astype(np.float32)


@pytest.mark.parametrize(("precision", "bits", "steps"), [("int8", 8, 127), ("int4", 4, 8)])
@pytest.mark.parametrize("outputs", [1, 7, 600])
def test_no_value_is_further_off_than_half_a_step(precision, bits, steps, outputs):
    original = matrix(outputs, 64)
    made = quantize(original, precision)
    assert (made.bits, made.shape, made.size) == (bits, (outputs, 64), outputs * 64)
    groups = original.reshape(outputs, -1, BLOCK) if bits == 4 else original[:, None, :]
    step = np.abs(groups).max(axis=2, keepdims=True) / steps
    # In four bits the side away from the largest value has one level less: there a whole step may be missing.
    worst = np.abs(made.widen().reshape(groups.shape) - groups) / step
    assert worst.max() <= (1.0 if bits == 4 else 0.5) + 1e-4
    assert np.quantile(worst, 0.9) <= 0.5 + 1e-4


def test_what_the_levels_hold_exactly_is_kept():
    eight = np.arange(-127, 128, dtype=np.float32)[None, :] * np.float32(0.5)
    assert np.array_equal(quantize(eight, "int8").widen(), eight)
    assert np.array_equal(quantize(eight, "int8").integers(), np.arange(-127, 128)[None, :])
    four = np.tile(np.arange(-8, 8, dtype=np.float32), 4)[None, :] * np.float32(0.25)
    assert np.array_equal(quantize(four, "int4").widen(), four)
    assert np.array_equal(np.abs(quantize(-four, "int4").integers()), np.abs(four / 0.25))


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_zeros_stay_zeros(precision):
    original = matrix(4, 64)
    original[2] = 0
    original[3, :32] = 0
    made = quantize(original, precision)
    assert np.isfinite(made.scales).all()
    assert not made.widen()[2].any()
    assert not made.widen()[3, :32].any()


def test_a_width_without_whole_blocks_stays_in_eight_bits():
    assert quantize(matrix(3, 40), "int4").bits == 8
    assert quantize(matrix(3, 64), "int4").bits == 4


def test_layouts():
    assert quantize(matrix(5, 64), "int8").values.shape == (64, 5)
    four = quantize(matrix(5, 64), "int4")
    assert (four.values.shape, four.scales.shape) == ((5, 32), (5, 2))
    # The first of two values lies in the lower half of the byte.
    assert np.array_equal(four.integers()[:, 0], (four.values[:, 0] & 15).astype(np.int8) - 8)


def test_half_precision_input_is_widened_first():
    original = matrix(4, 64).astype(np.float16)
    assert np.array_equal(quantize(original, "int8").values, quantize(original.astype(np.float32), "int8").values)


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_joining_is_stacking(precision):
    parts = [quantize(matrix(rows, 64, seed=rows), precision) for rows in (3, 5)]
    assert np.array_equal(joined(parts).widen(), np.concatenate([part.widen() for part in parts]))
    assert joined(parts[:1]) is parts[0]


def test_widened_leaves_arrays_alone():
    plain = matrix(2, 64)
    assert widened([plain])[0] is plain
    assert np.array_equal(widened([quantize(plain, "int8")])[0], quantize(plain, "int8").widen())
