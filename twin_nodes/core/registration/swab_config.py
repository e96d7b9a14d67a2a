"""Settings of a swab: what is collected, when it is looked at, when it is good enough."""

from dataclasses import dataclass

from twin_nodes.core.config import group, setting
from twin_nodes.core.registration.combined import SwabConfig
from twin_nodes.core.registration.swab import SwabCollectConfig


@dataclass(frozen=True)
class SwabSessionConfig:
    """Settings of a registration by a swabbed surface; `collect` and `register` are groups."""

    collect: SwabCollectConfig = group(SwabCollectConfig)
    register: SwabConfig = group(SwabConfig)
    first_look: int = setting('Points of a running swab at which it is looked at first.', 40, minimum=20)
    growth: float = setting('It is looked at again when it has grown by this factor.', 1.5, minimum=1.05, maximum=10.0)
