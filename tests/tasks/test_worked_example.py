"""Smallest end-to-end check of both leading tasks; the details are in the other files of this room."""

import torch

import tasks


def test_the_answer_of_each_leading_task_reaches_its_floor():
    for kind in ("regression", "retrieval"):
        task = tasks.build({"kind": kind})
        batch = task.sample(seed=0, stream="test", step=0, batch=4096)
        loss = task.loss(task.answer(batch), batch)
        excess = loss.mean(0) - task.bayes_risk().value
        assert (excess.abs() <= 4 * loss.std(0) / len(batch) ** 0.5 + 1e-9).all()
        assert torch.equal(batch.inputs, task.sample(seed=0, stream="test", step=0, batch=4096).inputs)
