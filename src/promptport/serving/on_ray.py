"""The same HTTP application as a Ray Serve deployment, on one machine or on a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from promptport.errors import MissingPackageError, PromptPortError
from promptport.serving.running import ServeConfig, log_json_lines

_NAME = "promptport"
_START_SECONDS = "180"  # Ray's own 30 are too few for a busy machine
_FEWEST_CPUS = 0.5  # of a replica for Ray's books; its worker takes what there is


def serve_on_ray(
    config: ServeConfig, address: str | None, ready: Callable[[str], None] | None = None
) -> None:
    """Serve with as many replicas as `config.workers` until SIGINT or SIGTERM.

    Every replica has a front and one worker process with the whole model. A replica that dies is
    started again by Ray, and its worker by the replica.

    Args:
        config: where and how; paths must lead to the same files on every machine.
        address: of a running cluster; None starts Ray on this machine.
        ready: called with the address once requests are taken.

    Raises:
        MissingPackageError: Ray is not installed.
        PromptPortError: the cluster cannot be reached, or the deployment fails.
    """
    try:
        import ray
        from ray import serve
    except ImportError as error:
        raise MissingPackageError(
            "--ray",
            expected="Ray Serve",
            got=f"no {error.name}",
            fix="Install it: pip install 'ray[serve]'",
        ) from error
    os.environ.setdefault("RAY_raylet_start_wait_time_s", _START_SECONDS)
    try:
        ray.init(
            address=address,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:  # Ray raises bare ones too
        raise PromptPortError(
            "--ray-address",
            expected="a Ray cluster that answers",
            got=" ".join(str(error).split())[:200],
            fix="Start one with 'ray start --head', or leave --ray-address out",
        ) from error
    try:
        serve.start(http_options={"host": config.host, "port": config.port})
        serve.run(_deployment(config), name=_NAME, route_prefix="/", _local_testing_mode=False)
        if ready is not None:
            ready(f"http://{config.host}:{config.port}")
        _wait()
    except RuntimeError as error:  # Ray tells a failing deployment so
        raise PromptPortError(
            "--ray",
            expected="replicas that start",
            got=" ".join(str(error).split())[-300:],
            fix="Try the same without --ray, which says what is wrong",
        ) from error
    finally:
        with contextlib.suppress(Exception):
            serve.shutdown()
        ray.shutdown()


def _deployment(config: ServeConfig) -> Any:
    from ray import serve

    def build() -> Any:
        """In the replica: the front with a worker of its own."""
        from promptport.serving.http import make_app
        from promptport.serving.openai import Limits
        from promptport.serving.pool import WorkerPool

        log_json_lines()
        pool = WorkerPool(config.worker, most_waiting=config.most_waiting)
        return make_app(pool, Limits(**config.limits), config.token)

    @serve.deployment(
        name=_NAME,
        num_replicas=config.workers,
        max_ongoing_requests=config.most_waiting,
        ray_actor_options={"num_cpus": _FEWEST_CPUS},
    )
    @serve.ingress(build)
    class Front:
        """What Ray starts as often as there are replicas."""

    return Front.bind()  # type: ignore[attr-defined]


def _wait() -> None:
    """Until this process is told to end."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
