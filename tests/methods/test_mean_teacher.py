"""Tests of semaug.methods.mean_teacher."""

import pytest
import torch
from torch.testing import assert_close

from semaug.methods import MeanTeacher
from tests.methods.hosts import make_batch, make_host, train


def weights_of(state, network):
    return {
        name.removeprefix(f"{network}."): value
        for name, value in state.items()
        if name.startswith(f"{network}.") and "running" not in name and "num_batches" not in name
    }


@pytest.mark.parametrize(
    ("options", "decays"),
    [
        ({"teacher_decay": 0.7}, [1 / 2, 2 / 3, 0.7, 0.7, 0.7]),
        ({"teacher_decay": 0.7, "decay_in_ramp": 0.2, "ramp_steps": 3}, [0.2, 0.2, 0.2, 0.7, 0.7]),
    ],
)
def test_the_teacher_is_a_weighted_sum_of_all_students(options, decays):
    host = make_host(MeanTeacher, **options).double()
    students = [dict(host.network.named_parameters())]
    students = [{name: value.detach().clone() for name, value in students[0].items()}]
    states = train(host, 5, dtype=torch.float64)
    students += [weights_of(state, "network") for state in states]
    shares = torch.tensor([1.0, *(1 - decay for decay in decays)], dtype=torch.float64)
    for place, decay in enumerate(decays, 1):
        shares[:place] *= decay
    assert_close(shares.sum(), torch.tensor(1.0, dtype=torch.float64))
    for name, value in weights_of(states[-1], "teacher").items():
        expected = sum(
            share * student[name] for share, student in zip(shares, students, strict=True)
        )
        assert_close(value, expected)


def test_it_begins_as_the_student_and_takes_no_gradient():
    host = make_host(MeanTeacher)
    for own, other in zip(host.teacher.parameters(), host.network.parameters(), strict=True):
        assert torch.equal(own, other)
        assert not own.requires_grad
    host.loss(make_batch(MeanTeacher)).loss.backward()
    assert all(parameter.grad is None for parameter in host.teacher.parameters())


def test_its_batch_norm_has_statistics_of_its_own_view():
    host = make_host(MeanTeacher)
    batch = make_batch(MeanTeacher)
    output = host.loss(batch)
    host.after_step(batch, output)
    convolved = make_host(MeanTeacher).teacher[0](batch.unlabeled.images[1])
    assert_close(host.teacher[1].running_mean, 0.1 * convolved.mean(dim=(0, 2, 3)))
    assert host.teacher[1].num_batches_tracked == 1


@pytest.mark.parametrize("isda", [False, True])
def test_the_teacher_is_tested_and_the_student_beside_it(isda):
    host = make_host(MeanTeacher, isda=isda)
    train(host, 3)
    host.eval()
    images = torch.randn(4, 3, 6, 6)
    predictions = host.predict_each(images)
    assert [*predictions] == ["", "student"]
    for name, network in (("", host.teacher), ("student", host.network)):
        output = network(images)
        assert torch.equal(predictions[name], output[0] if isda else output)
    assert host.networks() == [host.network, host.teacher]


def test_a_resumed_run_does_not_begin_the_warm_up_again():
    whole = train(make_host(MeanTeacher), 6)
    host = make_host(MeanTeacher)
    train(host, 3)
    other = make_host(MeanTeacher)
    other.load_state_dict(host.state_dict())
    resumed = train(other, 3, first=3)
    for name, value in whole[-1].items():
        assert torch.equal(resumed[-1][name], value)
