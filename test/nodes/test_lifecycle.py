"""What the nodes' lifecycle does whichever rclpy there is."""

from __future__ import annotations

import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("seg_perception.msg", reason="the messages are not built; run make setup")

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleNode

from seg_perception.nodes import lifecycle


class Idle(lifecycle.PipelineNode[lifecycle.PipelineParameters]):
    def configure(self):
        """Nothing to load."""

    def cleanup(self):
        """Nothing to free."""


@pytest.fixture
def context():
    rclpy.init()
    yield
    rclpy.shutdown()


def change_state_of_jazzy(node, request, response):
    """Up to Jazzy, nobody catches what a refused transition raises."""
    node._state_machine.trigger_transition_by_id(request.transition.id, True)
    response.success = True
    return response


def test_a_request_that_does_not_fit_the_state_is_refused(context, monkeypatch):
    monkeypatch.setattr(LifecycleNode, "_LifecycleNodeMixin__on_change_state", change_state_of_jazzy, raising=False)
    node = Idle("idle", lifecycle.PipelineParameters)
    ask = node._service_change_state.callback
    for transition, success in ((Transition.TRANSITION_ACTIVATE, False), (Transition.TRANSITION_CONFIGURE, True)):
        request = ChangeState.Request(transition=Transition(id=transition))
        assert ask(request, ChangeState.Response()).success is success
    node.destroy_node()
