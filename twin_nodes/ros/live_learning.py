"""Stiffness learned while the anatomy is followed: hands work to another process, takes results at stamps."""

from collections.abc import Callable, Mapping

from rclpy.node import Node
from std_srvs.srv import Trigger

from twin_nodes.core.anatomy.learning import StiffnessNews
from twin_nodes.core.anatomy.session import AnatomySession
from twin_nodes.core.errors import TwinError
from twin_nodes.ros.health import OK, WARN, Health
from twin_nodes.ros.progress import is_replay
from twin_nodes.ros.stiffness_output import StiffnessOutput
from twin_nodes.ros.stiffness_worker import StiffnessWorker

_LONGEST_S = 600.0  # that a replay waits for one estimate


class LiveLearning:
    """Learns for one session.

    Args:
        node: The node.
        health: Its health.
        session: What is followed, with learning.
        names: Of the structures, by label as text.
        write: Stores an estimate and returns where; raises a TwinError where it cannot.
        write_at_end: Whether that is done when the node ends.
    """

    def __init__(
        self,
        node: Node,
        health: Health,
        session: AnatomySession,
        names: Mapping[str, str],
        write: Callable[[StiffnessNews], str],
        *,
        write_at_end: bool,
    ) -> None:
        assert session.learning is not None
        self._node, self._health, self._session, self._write = node, health, session, write
        self._learning, self._write_at_end = session.learning, write_at_end
        learner = self._learning.learner
        self._worker = StiffnessWorker(learner.body)
        self._output = StiffnessOutput(node, names, learner.body.materials)
        self._wait_s = _LONGEST_S if is_replay(node) else 0.0
        self._is_used = False
        self._said = ''
        self._service = node.create_service(Trigger, 'anatomy/write_stiffness', self._on_write)
        health.set('stiffness', OK, 'OK', 'nothing was seen to learn from yet')

    def before(self, stamp_ns: int) -> None:
        """Take what is due before a sample of this stamp counts, and begin what is next."""
        learner = self._learning.learner
        due_ns = learner.due_ns
        if due_ns is not None and stamp_ns >= due_ns:
            self._take(stamp_ns)
        job = learner.next_job(self._session.left.share)
        if job is not None:
            self._worker.start(job)
        if self._learning.skipped != self._said:
            self._said = self._learning.skipped
            if self._said:
                self._health.count('LEARNING_SKIPPED')
            if self._said and learner.news is None:
                self._health.set('stiffness', OK, 'LEARNING_SKIPPED', self._said)

    def _take(self, stamp_ns: int) -> None:
        learner = self._learning.learner
        while (result := self._worker.result(wait_s=self._wait_s)) is not None:
            if result.number != learner.number:
                continue  # of a time that was forgotten
            news = learner.finish(stamp_ns, result)
            if news is None:
                self._health.warn(result.code, f'stiffness: {result.reason}')
                self._health.set('stiffness', WARN, result.code, result.reason)
                return
            self._use(news)
            self._output.say(news)
            self._say(news)
            return

    def _use(self, news: StiffnessNews) -> None:
        used = any(row.used for row in news.rows)
        if used or self._is_used:
            self._session.use_stiffness(*self._learning.learner.materials())
        self._is_used = used

    def _say(self, news: StiffnessNews) -> None:
        codes = {row.code for row in news.rows}
        worst = next(
            (code for code in ('STIFFNESS_DOUBTFUL', 'STIFFNESS_RATIO', 'STIFFNESS_UNSEEN') if code in codes), 'OK'
        )
        text = {
            'OK': 'all stiffness is learned',
            'STIFFNESS_DOUBTFUL': 'the model does not explain what was seen: what was assumed is held',
            'STIFFNESS_RATIO': 'no force was seen: only ratios are known, the level is held',
            'STIFFNESS_UNSEEN': 'what was seen tells nothing of some: they are held as assumed',
        }[worst]
        values: dict[str, object] = {
            'states': news.states,
            'residual_ratio': news.estimate.residual,
            'used': sum(row.used for row in news.rows),
            'seen_stamp_ns': news.seen_ns,
        }
        self._health.set('stiffness', OK if worst == 'OK' else WARN, worst, text, values)

    def reset(self) -> None:
        """Forget what was learned too, after a jump of the clock."""
        learner = self._learning.learner
        learner.reset()
        if self._is_used:
            self._session.use_stiffness(*learner.materials())
            self._is_used = False
        self._health.set('stiffness', OK, 'OK', 'nothing was seen to learn from yet')

    def close(self) -> None:
        """End the process; write the result where that is asked for."""
        self._worker.close()
        if self._write_at_end and self._learning.learner.news is not None:
            try:
                self._node.get_logger().info(f'stiffness: {self._write(self._learning.learner.news)}')
            except TwinError as error:
                self._node.get_logger().error(f'{error.code}: {error}')

    def _on_write(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        news = self._learning.learner.news
        if news is None:
            reason = self._learning.skipped or 'no cloud of tissue that a tool holds has come'
            response.success, response.message = False, f'STIFFNESS_UNSEEN: nothing was learned yet: {reason}'
            return response
        try:
            response.success, response.message = True, self._write(news)
        except TwinError as error:
            response.success, response.message = False, f'{error.code}: {error}'
        return response
