"""Bytes and operations of a step, by hand, and floors of one H200 that were reckoned before there was an engine."""

import pytest

from efcnbench.cost_model import StepMethod, least_step_seconds, step_operations

H200 = {"copy_bytes_per_s": 4.3e12, "rates": {"tf32": 390e12, "bf16": 780e12}}
VANILLA = {
    "padded": [(18496, 3888), (4096, 9216), (576, 1600)],
    "live": [(18496, 3072), (3136, 4096), (576, 576)],
}
ALEXNET_LIVE = [(18496, 3072), (9408, 4096), (3456, 1728), (2304, 3456), (2304, 2304)]


def total(works_):
    return sum(work.bytes for work in works_), sum(work.operations for work in works_)


def test_one_layer_by_hand():
    layers, batch = [(7, 5)], 3
    product, factors = 2 * 3 * 35, 3 * 12
    forward = 35 + factors
    assert total(step_operations(layers, batch, StepMethod())) == (4 * (forward + 35 + factors + 3 * 35), 2 * product)
    assert total(step_operations(layers, batch, StepMethod(fused=True))) == (
        4 * (forward + 2 * 35 + factors),
        2 * product,
    )
    bf16 = StepMethod(precision="bf16", fused=True)
    assert total(step_operations(layers, batch, bf16)) == (2 * forward + 8 * 35 + 2 * 35 + 2 * factors, 2 * product)
    adam = StepMethod(rule="adam")
    assert total(step_operations(layers, batch, adam))[0] == 4 * (forward + 35 + factors + 7 * 35)
    momentum = StepMethod(momentum=True, fused=True)
    assert total(step_operations(layers, batch, momentum))[0] == 4 * (forward + 4 * 35 + factors)


def test_the_first_layer_gives_nothing_back_and_a_delay_spares_traffic():
    names = [work.name for work in step_operations([(7, 5), (4, 7)], 3, StepMethod(fused=True, delay=4))]
    assert names == ["forward 0", "fused update 0", "delay 0", "forward 1", "back 1", "fused update 1", "delay 1"]
    by_name = {work.name: work for work in step_operations([(7, 5), (4, 7)], 3, StepMethod(fused=True, delay=4))}
    assert by_name["fused update 0"].bytes == 35 * 8 / 4 + 4 * 3 * 12
    assert by_name["delay 0"].operations == 2 * 1.5 * 9 * 12  # 1.5 batches are kept on average
    assert by_name["delay 1"].operations == 2 * 2 * 1.5 * 9 * 11


@pytest.mark.parametrize(
    ("layers", "way", "milliseconds"),
    [
        (VANILLA["padded"], StepMethod("tf32"), 0.63),
        (VANILLA["live"], StepMethod("tf32"), 0.39),
        (VANILLA["padded"], StepMethod("tf32", fused=True), 0.40),
        (VANILLA["live"], StepMethod("tf32", fused=True), 0.24),
        (VANILLA["padded"], StepMethod("tf32", rule="adam"), 1.05),
        (VANILLA["live"], StepMethod("tf32", rule="adam"), 0.65),
        (VANILLA["live"], StepMethod("tf32", rule="adam", fused=True), 0.50),
        (ALEXNET_LIVE, StepMethod("tf32"), 0.68),
        (ALEXNET_LIVE, StepMethod("tf32", fused=True), 0.44),
    ],
)
def test_floors_are_those_reckoned_by_others(layers, way, milliseconds):
    assert 1e3 * least_step_seconds(layers, 250, way, H200) == pytest.approx(milliseconds, rel=0.05)
