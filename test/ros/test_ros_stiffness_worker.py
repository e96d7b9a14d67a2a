"""The process that estimates stiffness: does its jobs, says when it has died, and ends with its node."""

import io
import pickle

import numpy as np
import pytest

from twin_nodes.core.anatomy.elastic.laws import NeoHookean
from twin_nodes.core.anatomy.elastic.loads import Loads
from twin_nodes.core.anatomy.elastic.model import ElasticModel
from twin_nodes.core.anatomy.learning import LearnBody, LearnJob, LearnWork
from twin_nodes.core.anatomy.material.stiffness_points import SurfaceSight
from twin_nodes.core.simulate.tet_box import tet_box
from twin_nodes.ros.stiffness_worker import StiffnessWorker, serve

MESH = tet_box((2, 1, 1), (0.06, 0.03, 0.03))
LABEL = int(MESH.labels[0])
LAW = {LABEL: NeoHookean(4e3, 0.45)}
SUPPORT = np.where(MESH.nodes[:, 0] < 1e-9, 1e4, 0.5)
BODY = LearnBody(MESH, LAW, SUPPORT, 1000.0, np.zeros((len(MESH.nodes), 3, 1)), 1.0)
RIGHT = np.flatnonzero(MESH.nodes[:, 0] > 0.0599)


def job(number):
    loads = Loads(RIGHT, MESH.nodes[RIGHT] + [0.004, 0.0, 0.003])
    truth = ElasticModel(MESH, {LABEL: NeoHookean(6e3, 0.45)}, support=SUPPORT).solve(loads)
    sight = SurfaceSight(loads, truth.positions[MESH.outer_nodes], 3e-4, RIGHT, np.array([0.8, 0.0, 0.3]), 0.05)
    return LearnJob(number, 1, (sight,), np.ones(len(MESH.tets)))


@pytest.fixture
def worker():
    found = StiffnessWorker(BODY)
    yield found
    found.close()


def test_a_job_is_done_as_it_would_be_here_and_a_dead_process_is_said(worker):
    assert worker.result() is None
    worker.start(job(1))
    assert worker.result() is None  # nothing was waited for
    found = worker.result(wait_s=60.0)
    here = LearnWork(BODY).learn(job(1))
    assert found.number == 1 and found.code == ''
    np.testing.assert_array_equal(found.estimate.factor, here.estimate.factor)
    worker._process.kill()
    worker._process.wait()
    failed = worker.result(wait_s=60.0)
    assert failed.estimate is None and failed.code == 'LEARNING_FAILED'
    worker.start(job(2))  # begins anew
    assert worker.result(wait_s=60.0).number == 2
    process = worker._process
    worker._items.put(None)  # closes its input, as when the node is killed
    assert process.wait(timeout=60.0) == 0


def test_a_process_that_died_between_two_jobs_is_said_too(worker):
    worker.start(job(1))
    assert worker.result(wait_s=60.0).number == 1
    worker._process.kill()
    worker._process.wait()
    assert worker.result(wait_s=60.0).code == 'LEARNING_FAILED'  # as its reader says
    poll, worker._process.poll = worker._process.poll, lambda: None  # seen as alive when the job is handed over
    worker.start(job(2))
    worker._process.poll = poll
    found = worker.result(wait_s=60.0)
    assert (found.number, found.code) == (2, 'LEARNING_FAILED')


def test_what_is_asked_is_answered_in_order_until_the_end():
    asked = b''.join(pickle.dumps(item) for item in (BODY, job(3), job(4)))
    sink = io.BytesIO()
    serve(io.BytesIO(asked), sink)
    sink.seek(0)
    assert [pickle.load(sink).number for _ in range(2)] == [3, 4]
