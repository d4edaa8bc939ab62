"""Reports that were taken lately, so that the same one again is told apart from one that says something else."""

import hashlib
import threading
from collections import OrderedDict

from grasp_client.contract import OutcomeReport
from inference_server.errors import ServerError

MOST = 65_536
"""Reports that are known again, the newest ones: about 20 MB."""
_NOTHING = bytes(16)


class AcceptedReports:
    """What the last `most` accepted reports said, by the outcome's id and by the grasp of a plan that they were about."""

    def __init__(self, most: int = MOST) -> None:
        self._said: OrderedDict[bytes, bytes] = OrderedDict()
        self._most = 2 * most
        self._lock = threading.Lock()

    def repeats(self, outcome_id: str, report: OutcomeReport) -> bool:
        """Whether a report was accepted before. Raises ServerError 409 when that one said something else."""
        with self._lock:
            before = self._said.get(_digest("id", outcome_id))
        if before is None:
            return False
        said = _words(report)
        what, grasp = before[:16] == said[:16], before[16:] == said[16:] or _NOTHING in (before[16:], said[16:])
        if what and grasp:
            return True
        raise _conflict(f"the outcome {outcome_id[:80]!r} was reported before, with another {'grasp' if what else 'result'}")

    def check_first_of(self, plan: str, rank: int, outcome_id: str) -> None:
        """Raises ServerError 409 when this grasp of a plan was reported under another id: it is executed once."""
        with self._lock:
            before = self._said.get(_digest("grasp", plan, rank))
        if before not in (None, _digest("id", outcome_id)):
            raise _conflict(f"grasp {rank} of that plan was reported under another id: plan again for the next attempt")

    def remember(self, outcome_id: str, report: OutcomeReport, plan: str | None) -> None:
        """plan: of which the server knows that the grasp is from it."""
        with self._lock:
            self._said[_digest("id", outcome_id)] = _words(report)
            if plan is not None:
                self._said[_digest("grasp", plan, report.rank)] = _digest("id", outcome_id)
            while len(self._said) > self._most:
                self._said.popitem(last=False)


def _words(report: OutcomeReport) -> bytes:
    """What happened, and to which grasp if the report says so; a retry may have other times and details."""
    result = report.model_dump_json(include={"success", "failure", "contact_rule", "rank", "request_id"})
    return _digest(result) + (_digest(report.grasp.model_dump_json()) if report.grasp else _NOTHING)


def _digest(*parts: object) -> bytes:
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=16).digest()


def _conflict(message: str) -> ServerError:
    return ServerError(409, "outcome_conflict", message)
