"""Spark Connect glue: a session on a server, which says within half a minute that its process is gone.

PySpark's own client tries for ten minutes, for each call anew: the one that failed, those that tidy up after it, and
those of its exit; and it waits for ever for a server whose machine or network went away without a word, which takes a
minute more here. One that does not even greet counts as gone: one that is slow, or a proxy that has none at the moment,
keeps PySpark's patience.
"""

import os
import socket
import time
from typing import TYPE_CHECKING, cast

import grpc
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.connect.client.core import DefaultChannelBuilder
from pyspark.sql.connect.client.retries import DefaultPolicy, RetryPolicyState
from pyspark.sql.connect.session import SparkSession as ConnectSession

from lakesight.errors import SetupError
from lakesight.spark import ROOT_KEY
from lakesight.warehouse import Warehouse

if TYPE_CHECKING:
    from typing import Any

CONNECT_PORT = 15002
"""Spark Connect's own default."""
PATIENCE_S = 30.0
"""So long nobody may answer: a server that is started again is there by then."""
BETWEEN_MS = 1000
ANSWER_S = 5.0
"""So long a server may take to greet who connects."""
PINGS: "list[tuple[str, Any]]" = [
    ("grpc.keepalive_time_ms", 35_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # where it is longer, the one above does not count
    ("grpc.min_reconnect_backoff_ms", 5_000),  # so long an attempt to connect may take
    ("grpc.http2.max_pings_without_data", 0),
]
"""A call that hears nothing asks whether the server is there, and fails if there is no answer.

Not more often: gRPC's server takes three questions for granted, and breaks off at the fourth ("too_many_pings") unless
it has sent something since. Spark's ends and renews its answers after two minutes (`senderMaxStreamDuration`).
"""


def remote_session(warehouse: Warehouse, address: str) -> SparkSession:
    """The session on the server at `sc://host:port`, whose root must be the warehouse's.

    Raises:
        SetupError: no such server, or one over another root; later, from any use of the session: it is gone.
    """
    if (refused := _refusal(address, PATIENCE_S)) is not None:
        raise SetupError(
            f"no Spark Connect server answers: {refused}",
            where=f"spark.remote={address}",
            expected="sc://host:port of a running server",
            fix="start `lakesight server`, or correct spark.remote",
        ) from refused
    session = _session(DefaultChannelBuilder(address, PINGS))
    session.client.set_retry_policies([ServerGone(address)])
    held = session.conf.get(ROOT_KEY, None)
    if held is not None and held != str(warehouse.root):
        raise SetupError(
            f"the Spark server is over another root: {held}",
            where=address,
            expected=f"a server over {warehouse.root}",
            fix="name the server's root with --root, or another server with spark.remote",
        )
    return cast("SparkSession", session)


def _session(channel: DefaultChannelBuilder) -> ConnectSession:
    """As `SparkSession.builder.remote` makes it, which takes an address and no channel."""
    os.environ["SPARK_CONNECT_MODE_ENABLED"] = "1"  # what the functions of pyspark.sql look at
    return ConnectSession.builder.channelBuilder(channel).getOrCreate()


def _refusal(address: str, wait_s: float = ANSWER_S) -> Exception | None:
    """Why nobody answers at an address; None: somebody does."""
    try:
        # A connection of its own: that of the session may be the one that has died.
        channel = DefaultChannelBuilder(address, [("grpc.use_local_subchannel_pool", 1)])
        place = channel.url
        socket.create_connection((str(place.hostname), place.port or CONNECT_PORT), timeout=10).close()
        with channel.toChannel() as opened:
            grpc.channel_ready_future(opened).result(timeout=wait_s)
    except grpc.FutureTimeoutError:
        return TimeoutError(f"who listens there does not answer within {wait_s:g} s")
    except (OSError, ValueError, PySparkException) as error:
        return error
    return None


class ServerGone(DefaultPolicy):
    """PySpark's retries, as long as somebody answers at the address; else `SetupError` after `PATIENCE_S`."""

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
        """Whether somebody answers now.

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
