"""Two binaries of Switchboard in alternating rounds: the relay job, whole turns, first tokens, bytes on the wire."""

from dataclasses import dataclass

import measure
import relay
from servers import BARE_RELAY, BEFORE, FLOOR

OURS = "switchboard"


@dataclass
class Plan:
    job: relay.Job
    # Rounds of each measurement.
    pairs: int
    # For the measurement of first tokens.
    connections: int
    # For the measurement of whole turns.
    seconds: int


def measure_both(against, plan):
    return {
        "before": against.name,
        "relay": relay.measure((BARE_RELAY, OURS, BEFORE), plan.job, plan.pairs, against=against),
        "wire": relay.wire((OURS, BEFORE), against),
        "turns": measure.turns((OURS, BEFORE), plan.seconds, plan.pairs, against),
        "first_token": measure.first_token((FLOOR, OURS, BEFORE), plan.connections, plan.pairs, against),
    }
