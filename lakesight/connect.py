"""Spark Connect glue: a session on a server, which says within half a minute that the server is gone.

PySpark's own client tries for ten minutes, for each call anew: the one that failed, those that tidy up after it, and
those of its exit. Only a port that nobody listens to counts as gone: a server that is slow, or a proxy that has none at
the moment, keeps PySpark's patience.
"""

import socket
import time
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import grpc
from pyspark.sql import SparkSession
from pyspark.sql.connect.client.retries import DefaultPolicy, RetryPolicyState

from lakesight.errors import SetupError
from lakesight.spark import ROOT_KEY
from lakesight.warehouse import Warehouse

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession as ConnectSession

CONNECT_PORT = 15002
"""Spark Connect's own default."""
PATIENCE_S = 30.0
"""So long nobody may listen: a server that is started again is there by then."""
BETWEEN_MS = 1000


def remote_session(warehouse: Warehouse, address: str) -> SparkSession:
    """The session on the server at `sc://host:port`, whose root must be the warehouse's.

    Raises:
        SetupError: no such server, or one over another root; later, from any use of the session: it is gone.
    """
    if (refused := _refusal(address)) is not None:
        raise SetupError(
            f"no Spark Connect server answers: {refused}",
            where=f"spark.remote={address}",
            expected="sc://host:port of a running server",
            fix="start `lakesight server`, or correct spark.remote",
        ) from refused
    session = SparkSession.builder.remote(address).getOrCreate()
    cast("ConnectSession", session).client.set_retry_policies([ServerGone(address)])
    held = session.conf.get(ROOT_KEY, None)
    if held is not None and held != str(warehouse.root):
        raise SetupError(
            f"the Spark server is over another root: {held}",
            where=address,
            expected=f"a server over {warehouse.root}",
            fix="name the server's root with --root, or another server with spark.remote",
        )
    return session


def _refusal(address: str) -> Exception | None:
    """Why nobody can be reached at an address; None: somebody listens."""
    place = urlsplit(address)
    try:
        if place.scheme != "sc" or place.hostname is None:
            raise ValueError("not an address of Spark Connect")
        socket.create_connection((place.hostname, place.port or CONNECT_PORT), timeout=10).close()
    except (OSError, ValueError) as error:
        return error
    return None


class ServerGone(DefaultPolicy):
    """PySpark's retries, as long as somebody listens at the address; else `SetupError` after `PATIENCE_S`."""

    def __init__(self, address: str) -> None:
        """For a session on the server at `address`."""
        super().__init__()
        self.address = address
        self.since: float | None = None
        """When a call first found nobody. All calls share it: only the first one waits."""

    def can_retry(self, e: BaseException) -> bool:
        """Also where a server that is being ended breaks off: it cancels streams, or reports jobs as failed."""
        if super().can_retry(e):
            return True
        return isinstance(e, grpc.RpcError) and (
            e.code() == grpc.StatusCode.CANCELLED or _refusal(self.address) is not None
        )

    def to_state(self) -> RetryPolicyState:
        """The state of one call."""
        return _Attempts(self)

    def look(self) -> bool:
        """Whether somebody listens now.

        Raises:
            SetupError: nobody has for `PATIENCE_S`.
        """
        refused = _refusal(self.address)
        now = time.monotonic()
        self.since = None if refused is None else self.since or now
        if refused is not None and self.since is not None and now - self.since > PATIENCE_S:
            raise SetupError(
                f"the Spark Connect server is gone: {refused}",
                where=f"spark.remote={self.address}",
                expected="a server that runs until the command has ended",
                fix="start `lakesight server` again (its logs/server.log says why it ended), and repeat the command",
            ) from refused
        return refused is None


class _Attempts(RetryPolicyState):
    def next_attempt(self, exception: BaseException | None = None) -> int | None:
        if not cast("ServerGone", self.policy).look():
            return BETWEEN_MS
        return super().next_attempt(exception)
